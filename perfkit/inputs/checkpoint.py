"""Checkpoints for engines that read weights from a folder: Hugging Face's form, in safetensors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from perfkit.inputs import models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from perfkit.architectures import Architecture
    from perfkit.inputs.models import ModelSource


def hf_config(arch: Architecture) -> dict[str, Any]:
    """Return config.json in the form that transformers 4 and 5 both read."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "vocab_size": arch.vocab,
        "hidden_size": arch.hidden,
        "intermediate_size": arch.intermediate,
        "num_hidden_layers": arch.layers,
        "num_attention_heads": arch.heads,
        "num_key_value_heads": arch.kv_heads,
        "head_dim": arch.head_dim,
        "max_position_embeddings": arch.positions,
        "rope_theta": arch.rope_theta,
        "rope_scaling": None,
        "rms_norm_eps": arch.norm_eps,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": arch.tied_embeddings,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "use_cache": True,
    }


def folder(source: ModelSource, device: str, cache: Path, *, dummy: bool, fp8: bool) -> Path:
    """Return a folder that holds the model: made once, in ``cache``, or the source's own.

    ``dummy`` writes no weights, for engines that make up their own; ``fp8`` says beside them that
    weights and cache are quantised. The seeded weights depend on the ``device`` that draws them.
    """
    if source.path is not None:
        return source.path
    kind = "config" if dummy else f"seed{source.seed}-{device}"
    place = cache / "models" / f"{source.name}-{kind}{'-fp8' if fp8 else ''}"
    if not place.is_dir():
        with whole(place) as made:
            _write(made, source, device, dummy=dummy, fp8=fp8)
    return place


def _write(made: Path, source: ModelSource, device: str, *, dummy: bool, fp8: bool) -> None:
    if not dummy:
        from safetensors.torch import save_model

        # bf16 holds what every precision of ours has.
        model = models.build(source, "bf16", device)
        save_model(model, str(made / "model.safetensors"), metadata={"format": "pt"})
        del model
        if device == "cuda":
            import torch

            # The engine's process needs the room that the allocator would keep.
            torch.cuda.empty_cache()
    (made / "config.json").write_text(json.dumps(hf_config(source.arch), indent=1))
    if fp8:
        quantised = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}
        (made / "hf_quant_config.json").write_text(json.dumps(quantised, indent=1))


def digest(place: Path) -> str:
    """Return a digest of a model's folder: its config's text, its weights' names, sizes and dates.

    Reading gigabytes of weights to name an engine would take longer than a person waits.
    """
    parts: list[object] = [
        file.read_text(encoding="utf-8")
        for file in (place / "config.json", place / "hf_quant_config.json")
        if file.is_file()
    ]
    for file in sorted(place.glob("*.safetensors")):
        about = file.stat()
        parts.append([file.name, about.st_size, about.st_mtime_ns])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def whole(place: Path) -> Iterator[Path]:
    """Make a folder whole or not at all: give a temporary one beside it, rename it at the end."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for left in place.parent.glob(f".{place.name}.*.tmp"):
        if not _lives(left.name.split(".")[-2]):
            shutil.rmtree(left, ignore_errors=True)
    made = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    made.mkdir()
    try:
        yield made
        try:
            made.rename(place)
        except OSError as error:
            # Somebody else may have made the same meanwhile: theirs is as good.
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _lives(pid: str) -> bool:
    """Whether a process of that number lives, other than this one."""
    import psutil

    return pid.isdigit() and int(pid) != os.getpid() and psutil.pid_exists(int(pid))
