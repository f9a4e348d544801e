"""Which kernels ran: a one-step profile, and what kind of attention its kernels are."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

# A name's first match is what it is. Names are those of kernels (CUDA) or operators (CPU).
_CLASSES: tuple[tuple[str, str], ...] = (
    ("trtllm-fmha", r"^fmha_v2"),
    ("flashinfer-fa3", r"flashinfer::PrefillWithKVCacheKernel"),
    ("triton-hopper", r"^attention_forward"),
    ("triton-decode", r"^decode_forward"),
    ("triton-step", r"^attention_step"),
    ("triton", r"^portable_forward"),
    ("cudnn", r"cudnn.*(sdpa|fmha|attention|flash)|(sdpa|flash).*cudnn"),
    ("flash", r"flash_fwd|flash::|pytorch_flash|flash_attention_for_cpu|_flash_attention_forward"),
    ("efficient", r"fmha_cutlass|mem_eff|efficient_attention|AttentionKernel"),
    ("flex", r"flex_attention"),
    ("materialised", r"softmax"),
)
_KEPT = re.compile(
    r"softmax|attention|flash|fmha|sdpa|^decode_forward|^portable_forward", re.IGNORECASE
)
_TOP = 12


def attention_class(names: Iterable[str]) -> str:
    """Return the kinds of attention among these names: "flash", "materialised", "a+b", "unknown".

    A softmax counts as materialised only where no fused kernel ran.
    """
    ran = {_kind(name) for name in names}
    found = [kind for kind, _ in _CLASSES if kind in ran]
    fused = [kind for kind in found if kind != "materialised"]
    return "+".join(fused or found) or "unknown"


def _kind(name: str) -> str | None:
    matching = (kind for kind, pattern in _CLASSES if re.search(pattern, name, re.IGNORECASE))
    return next(matching, None)


def phases(one: Mapping[str, int], two: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Split counts of a one-token and a two-token generation into prefill and one decode step."""
    decode = {name: n - one.get(name, 0) for name, n in two.items() if n > one.get(name, 0)}
    return dict(one), decode


def describe(requested: str, one: Mapping[str, int], two: Mapping[str, int]) -> dict[str, Any]:
    """Return requested against actual attention: kernels of the prefill and of a decode step."""
    prefill, decode = phases(one, two)
    return {
        "requested": requested,
        "prefill": _phase(prefill),
        "decode": _phase(decode),
    }


def _phase(counts: Mapping[str, int]) -> dict[str, Any]:
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return {
        "class": attention_class(counts),
        "attention_kernels": {name: counts[name] for name in ranked if _KEPT.search(name)},
        "top_kernels": {name: counts[name] for name in ranked[:_TOP]},
        "launches": sum(counts.values()),
    }


def profile(run: Callable[[], object], device: str) -> dict[str, int]:
    """Run once under torch's profiler; return how often each kernel (CPU: operator) ran."""
    import torch
    from torch.profiler import ProfilerActivity

    activity = ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity]) as profiler:
        run()
        if device == "cuda":
            torch.cuda.synchronize()
    # key_averages() says the same of the names, and takes twenty times as long to say it.
    events = profiler.profiler.kineto_results.events()
    return Counter(
        event.name()
        for event in events
        if device != "cuda" or event.device_type() == torch.profiler.DeviceType.CUDA
    )
