"""From an engine config to TensorRT-LLM's own arguments, as plain values that a worker can apply.

docs/tensorrt-llm.md names the source of each.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perfkit.backends.tensorrt_llm.config import EngineConfig
    from perfkit.backends.tensorrt_llm.versions import Api

BLOCK = 32  # tokens of a KV block, wherever it can be set; 0.16's own default is 64, 1.2's is 32
_UNSET_BLOCK = 64  # where it cannot be set: the largest default
_FREE_SHARE = 0.9
_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16", "fp8": "bfloat16"}
QUANTISED = {"fp8": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}


@dataclass(frozen=True)
class Arguments:
    """What a worker hands to ``LLM`` and what is in it; each a keyword table, absent where None.

    ``build`` and ``plugin`` are BuildConfig's keywords and its plugin_config's settings, ``quant``
    QuantConfig's (values name QuantAlgo members), ``kv`` KvCacheConfig's.
    """

    module: str
    llm: dict[str, Any]
    kv: dict[str, Any]
    build: dict[str, Any] | None = None
    plugin: dict[str, Any] | None = None
    quant: dict[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values to send to a worker."""
        return asdict(self)


def kv_tokens(api: Api, batch: int, length: int) -> int:
    """Return the KV pool for ``batch`` sequences of ``length`` tokens: whole blocks, one to spare.

    Formula: batch * (ceil(length / block) + 1) * block.
    """
    block = BLOCK if api.backend == "trtllm-engine" or api.block_in_kv_config else _UNSET_BLOCK
    return batch * (math.ceil(length / block) + 1) * block


def to_build(api: Api, config: EngineConfig, model: str, *, logits: bool) -> Arguments:
    """Return how to build an engine from a model's folder; ``logits`` gathers context logits."""
    build = {
        "max_batch_size": config.max_batch_size,
        "max_input_len": config.max_input_len,
        "max_seq_len": config.max_seq_len,
        "max_num_tokens": config.max_num_tokens,
        "gather_context_logits": logits,
    }
    plugin = {
        "context_fmha": config.fmha,
        "use_paged_context_fmha": config.paged_context_fmha,
        "use_fp8_context_fmha": config.fp8_context_fmha,
        "tokens_per_block": BLOCK,
        "gemm_plugin": None if config.precision == "fp8" else "auto",
    }
    llm = _llm(config, model) | {
        "dtype": _DTYPES[config.precision],
        "load_format": "dummy" if config.weights == "dummy" else "auto",
    }
    # The built engine is loaded at once, before it is saved: one sequence's cache is enough.
    kv = _kv(api, kv_tokens(api, 1, config.max_seq_len))
    return Arguments(api.module, llm, kv, build, plugin, QUANTISED.get(config.precision))


def to_run(api: Api, config: EngineConfig, engine: str, pool: int) -> Arguments:
    """Return how to load a built engine with a KV pool of ``pool`` tokens."""
    return Arguments(api.module, _llm(config, engine), _kv(api, pool))


def to_serve(api: Api, config: EngineConfig, model: str, pool: int) -> Arguments:
    """Return how to load a model's folder into TensorRT-LLM's PyTorch backend."""
    llm = _llm(config, model) | {
        "dtype": _DTYPES[config.precision],
        "load_format": "dummy" if config.weights == "dummy" else "auto",
        "max_batch_size": config.max_batch_size,
        "max_num_tokens": config.max_num_tokens,
        "max_seq_len": config.max_seq_len,
    }
    return Arguments(api.module, llm, _kv(api, pool))


def sampling(new_tokens: int) -> dict[str, Any]:
    """Return greedy decoding of exactly so many tokens, end of text or not.

    No min_tokens: with end_id -1 its penalty kernel would write outside a row.
    """
    return {
        "max_tokens": new_tokens,
        "end_id": -1,
        "pad_id": -1,
        "ignore_eos": True,
        "top_k": 1,
        "detokenize": False,
        "return_perf_metrics": True,
    }


def differences(asked: Arguments, built: dict[str, Any]) -> list[str]:
    """Return where an engine's config.json says other than what was asked, in words.

    A version that drops an unknown plugin setting in silence shows here.
    """
    model = built.get("pretrained_config") or {}
    build = built.get("build_config") or {}
    plugin = build.get("plugin_config") or {}
    quantised = model.get("quantization") or {}
    dtype = asked.llm["dtype"]
    wanted = {
        "tp_size": (asked.llm["tensor_parallel_size"], (model.get("mapping") or {}).get("tp_size")),
        "dtype": (dtype, model.get("dtype")),
        **{name: (value, build.get(name)) for name, value in (asked.build or {}).items()},
        **{name: (value, plugin.get(name)) for name, value in (asked.plugin or {}).items()},
        **{
            name: ((asked.quant or {}).get(name), quantised.get(name))
            for name in ("quant_algo", "kv_cache_quant_algo")
        },
    }
    return [
        f"{name} asked {want!r}, built {found!r}"
        for name, (want, found) in wanted.items()
        # "auto" is written as what it came to.
        if want != found and not (want == "auto" and found == dtype)
    ]


def _llm(config: EngineConfig, model: str) -> dict[str, Any]:
    return {
        "model": model,
        "skip_tokenizer_init": True,
        "tensor_parallel_size": config.tp,
        "enable_chunked_prefill": False,
    }


def _kv(api: Api, pool: int) -> dict[str, Any]:
    kv = {
        "max_tokens": pool,
        "enable_block_reuse": False,
        "free_gpu_memory_fraction": _FREE_SHARE,
    }
    return kv | ({"tokens_per_block": BLOCK} if api.block_in_kv_config else {})
