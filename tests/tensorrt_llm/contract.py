"""What each stand-in accepts: the contract's names, and where it is silent what both nearest know.

``python -m tests.tensorrt_llm.contract`` prints the table of assumptions for docs/tensorrt-llm.md.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

CONTRACT = json.loads((Path(__file__).parent / "contract.json").read_text(encoding="utf-8"))
VERSIONS = tuple(CONTRACT)
# What perfkit hands over or reads, by class; the tests hold it against what every version accepts.
USED = {
    "LLM.generate": ("inputs", "sampling_params", "use_tqdm"),
    "LLM.generate_async": ("inputs", "sampling_params", "streaming"),
    "TrtLlmArgs": ("model", "skip_tokenizer_init", "tensor_parallel_size", "dtype", "load_format",
                   "enable_chunked_prefill", "kv_cache_config", "build_config", "quant_config"),
    "TorchLlmArgs": ("model", "skip_tokenizer_init", "tensor_parallel_size", "dtype",
                     "load_format", "enable_chunked_prefill", "kv_cache_config", "max_batch_size",
                     "max_num_tokens", "max_seq_len"),
    "SamplingParams": ("max_tokens", "end_id", "pad_id", "ignore_eos", "top_k", "detokenize",
                       "return_perf_metrics", "return_context_logits"),
    "BuildConfig": ("max_batch_size", "max_input_len", "max_seq_len", "max_num_tokens",
                    "gather_context_logits", "plugin_config"),
    "PluginConfig": ("context_fmha", "use_paged_context_fmha", "use_fp8_context_fmha",
                     "tokens_per_block", "gemm_plugin"),
    "KvCacheConfig": ("max_tokens", "enable_block_reuse", "free_gpu_memory_fraction",
                      "tokens_per_block"),
    "QuantConfig": ("quant_algo", "kv_cache_quant_algo"),
    "QuantAlgo": ("FP8",),
    "CompletionOutput": ("token_ids", "request_perf_metrics"),
    "RequestOutput": ("outputs", "context_logits"),
}  # fmt: skip


@dataclass(frozen=True)
class Accepted:
    """Names that a version's class has; ``assumed`` names the versions they are taken from."""

    names: tuple[str, ...]
    assumed: tuple[str, ...] = ()


def accepted(version: str, what: str) -> Accepted:
    """Return what a stand-in of ``version`` accepts; a class that a version lacks has no names."""
    names = CONTRACT[version].get(what)
    if names is not None:
        return Accepted(tuple(names))
    place = VERSIONS.index(version)
    below = next((v for v in reversed(VERSIONS[:place]) if CONTRACT[v].get(what)), None)
    above = next((v for v in VERSIONS[place + 1 :] if CONTRACT[v].get(what)), None)
    nearest = tuple(v for v in (below, above) if v is not None)
    common = [n for n in CONTRACT[nearest[0]][what] if all(n in CONTRACT[v][what] for v in nearest)]
    return Accepted(tuple(common), nearest)


def types(version: str, what: str) -> dict[str, str]:
    """Return the types of a class's fields, of the nearest version that tells them."""
    key = "LlmArgs" if what == "TrtLlmArgs" else what
    place = VERSIONS.index(version)
    for near in (version, *reversed(VERSIONS[:place])):
        told = CONTRACT[near]["types"].get(key)
        if told:
            return told
    return {}


def table() -> str:
    """Return the assumptions as Markdown."""
    lines = ["| version | class | taken from | of it perfkit uses |", "|---|---|---|---|"]
    for version in VERSIONS:
        for what, used in USED.items():
            found = accepted(version, what)
            if found.assumed:
                common = ", ".join(f"`{name}`" for name in used if name in found.names) or "nothing"
                source = " and ".join(found.assumed)
                lines.append(f"| {version} | {what} | {source} | {common} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())  # noqa: T201
