"""Models: named architectures with random weights, or a local Hugging Face folder."""

from __future__ import annotations

import json
import math
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.architectures import ARCHITECTURES, Architecture
from perfkit.cases import LOCAL
from perfkit.errors import UsageError, unknown
from perfkit.precisions import PRECISIONS

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

# Queries and keys are drawn wider than the rest, so that attention scores have a standard deviation
# of about 2: with the usual 0.02 attention is almost uniform and a wrong scale would go unseen.
_SHARP = math.sqrt(2.0)


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from: ``path`` is None for random weights drawn from ``seed``."""

    name: str
    arch: Architecture
    path: Path | None = None
    seed: int = 0


def find(name: str, locals_: dict[str, ModelSource] | None = None, seed: int = 0) -> ModelSource:
    """Return the source of a model's name. Raises UsageError when there is none."""
    if name.startswith(LOCAL):
        known = locals_ or {}
        if name not in known:
            raise UsageError(f"{name!r} has no folder: give it with --model PATH")
        return known[name]
    if name not in ARCHITECTURES:
        raise UsageError(unknown("model", name, ARCHITECTURES))
    return ModelSource(name, ARCHITECTURES[name], seed=seed)


def local(path: Path) -> ModelSource:
    """Read a local Hugging Face folder's config. Raises UsageError when it holds no LLaMA model."""
    file = path / "config.json"
    if not file.is_file():
        raise UsageError(f"{path} holds no model: expected a config.json and *.safetensors files")
    if not any(path.glob("*.safetensors")):
        raise UsageError(f"{path} holds no *.safetensors file: convert the weights to safetensors")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        kind = config.get("model_type")
        arch = _from_config(config) if kind == "llama" else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{file}: not a LLaMA config: {error!r}") from None
    if arch is None:
        raise UsageError(f"{file}: model_type is {kind!r}, expected 'llama'")
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name).strip("-.") or "model"
    return ModelSource(f"{LOCAL}{slug}", arch, path)


def _from_config(config: dict[str, Any]) -> Architecture:
    heads = int(config["num_attention_heads"])
    rope = config.get("rope_parameters") or {}
    theta = config.get("rope_theta") or rope.get("rope_theta") or 10_000.0
    head_size = config.get("head_dim")
    return Architecture(
        hidden=int(config["hidden_size"]),
        intermediate=int(config["intermediate_size"]),
        layers=int(config["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        vocab=int(config["vocab_size"]),
        positions=int(config["max_position_embeddings"]),
        rope_theta=float(theta),
        norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        tied_embeddings=bool(config.get("tie_word_embeddings", False)),
        head_size=int(head_size) if head_size else None,
    )


def build(source: ModelSource, precision: str, device: str) -> LlamaForCausalLM:
    """Make the model on ``device`` in ``precision``, ready to infer, weights frozen.

    Random weights are drawn in fp32 and rounded to bf16 first, so that every precision holds the
    same values (fp16 rounds only those below 2**-14); weight-only quantisation is of the weights
    in bf16, whatever computes. Raises OSError for unreadable checkpoints.
    """
    import torch

    kind = PRECISIONS[precision]
    if source.path is not None:
        model = _read(source.path, kind.compute)
    else:
        model = _materialised(_empty(_config(source), kind.compute), device)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                _draw(name, weight, source.seed)
    if kind.weights is not None:
        from perfkit.inputs.weight_only import quantise

        quantise(model, kind.weights)
        if device == "cuda":
            torch.cuda.empty_cache()  # of what the weights were before
    torch.nn.Module.to(model, device)
    return _frozen(model)


def sharded(source: ModelSource, precision: str, device: str, tp: int) -> LlamaForCausalLM:
    """Make this rank's part of the model that ``build`` makes, by transformers' own TP plan.

    Each of ``tp`` ranks calls it, joined in torch's default process group. The weights are filled
    in here: ``from_pretrained`` shards as it reads, but asks for accelerate to do so.
    """
    import torch
    from torch.distributed.tensor import DTensor, distribute_tensor
    from transformers import LlamaForCausalLM
    from transformers.distributed.configuration_utils import DistributedConfig

    whole = None if source.path is None else _read(source.path, precision)
    config = _config(source) if whole is None else whole.config
    mesh: Any
    asked, _, mesh = LlamaForCausalLM.prepare_distribute_model(DistributedConfig(tp_size=tp))
    empty = LlamaForCausalLM.maybe_distribute_model(_empty(config, precision), asked, mesh)
    model = _materialised(empty, device)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if whole is None:
                full = torch.empty(weight.shape, dtype=weight.dtype, device=device)
                _draw(name, full, source.seed)
            else:
                full = whole.get_parameter(name).to(device)
            if isinstance(weight, DTensor):
                # Each rank has the whole weight and keeps its part: nothing is sent.
                part = distribute_tensor(full, mesh, weight.placements, src_data_rank=None)
                weight.to_local().copy_(part.to_local())
            else:
                weight.copy_(full)
    return _frozen(model)


def _read(path: Path, precision: str) -> LlamaForCausalLM:
    """Read a folder's weights into the host's memory."""
    from transformers import LlamaForCausalLM

    model: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(
        path,
        dtype=_dtype(precision),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        device_map=None,
    )
    return model


def _dtype(precision: str) -> torch.dtype:
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def _config(source: ModelSource) -> LlamaConfig:
    from transformers import LlamaConfig

    arch = source.arch
    return LlamaConfig(
        vocab_size=arch.vocab,
        hidden_size=arch.hidden,
        intermediate_size=arch.intermediate,
        num_hidden_layers=arch.layers,
        num_attention_heads=arch.heads,
        num_key_value_heads=arch.kv_heads,
        head_dim=arch.head_dim,
        max_position_embeddings=arch.positions,
        rope_parameters={"rope_type": "default", "rope_theta": arch.rope_theta},
        rms_norm_eps=arch.norm_eps,
        tie_word_embeddings=arch.tied_embeddings,
    )


def _empty(config: LlamaConfig, precision: str) -> LlamaForCausalLM:
    import torch
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        model: LlamaForCausalLM = LlamaForCausalLM._from_config(config, dtype=_dtype(precision))  # noqa: SLF001 - the public face is AutoModel's
    return model


def _materialised(model: LlamaForCausalLM, device: str) -> LlamaForCausalLM:
    """Give a model on the meta device memory on ``device``, its weights still to be filled in."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    model = model.to_empty(device=device)
    # Buffers made on the meta device hold nothing; the rotary table is the only one.
    model.model.rotary_emb = LlamaRotaryEmbedding(config=model.config).to(device)
    return model


def _draw(name: str, weight: torch.Tensor, seed: int) -> None:
    """Fill one weight from a generator of its own, so that order and precision do not matter."""
    import torch

    generator = torch.Generator(device=weight.device)
    generator.manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
    values = torch.randn(weight.shape, generator=generator, device=weight.device)
    if weight.dim() == 1:
        values = values.mul_(0.1).add_(1.0)
    elif "embed_tokens" not in name:
        sharp = _SHARP if ("q_proj" in name or "k_proj" in name) else 1.0
        values.mul_(sharp / math.sqrt(weight.shape[1]))
    weight.copy_(values.to(torch.bfloat16))


def _frozen(model: LlamaForCausalLM) -> LlamaForCausalLM:
    model.eval().requires_grad_(False)
    # No token ends a sequence early: outputs are exactly N tokens.
    settings = model.generation_config
    settings.eos_token_id = None
    settings.pad_token_id = 0
    settings.do_sample = False
    settings.temperature = settings.top_p = settings.top_k = None
    return model


def tokenizer(source: ModelSource) -> PreTrainedTokenizerBase | None:
    """Return the model's own tokenizer, or None where its folder holds none."""
    if source.path is None or not (source.path / "tokenizer.json").is_file():
        return None
    from transformers import AutoTokenizer

    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        source.path, local_files_only=True, trust_remote_code=False
    )
    return loaded
