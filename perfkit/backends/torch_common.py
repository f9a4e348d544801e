"""What both PyTorch arms share: loading, attention by name, and what a device can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.architectures import ARCHITECTURES
from perfkit.backends.engine import Loaded
from perfkit.errors import unknown
from perfkit.inputs import models
from perfkit.machine import compiled_cache
from perfkit.precisions import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Hashable

    from perfkit.attention.problem import Problem
    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource

# transformers' names: eager materialises the scores, sdpa takes torch's fused kernels.
ATTENTION = {"nofmha": "eager", "fmha": "sdpa"}
_BF16_CC = (8, 0)


def unsupported(case: Case, device: str) -> str | None:
    """Return why PyTorch cannot run this case on ``device``, or None."""
    if case.provider is not None:
        refused = _provider_refused(case, case.provider, device)
        if refused is not None:
            return refused
    kind = PRECISIONS[case.precision]
    if kind.products == "fp8":
        return "PyTorch's arms multiply no fp8: bf16-fp8 has fp8 weights alone"
    if kind.weights is not None and case.tp != 1:
        return f"{case.precision} runs on one device, got tp {case.tp}"
    if device == "cpu" and kind.compute == "fp16":
        return "fp16 on a CPU has no fast kernels (about 1,000 times slower than bf16): use bf16"
    if device == "cuda" and kind.compute == "bf16":
        import torch

        capability = torch.cuda.get_device_capability()
        if capability < _BF16_CC:
            found = ".".join(map(str, capability))
            return f"bf16 needs compute capability 8.0 or higher, found {found}"
    return None


def _provider_refused(case: Case, name: str, device: str) -> str | None:
    """Return why the case's model on ``device`` cannot use this attention provider, or None."""
    import torch

    from perfkit.attention import registry
    from perfkit.attention.transformers_hook import DECODE_ONLY, decode_provider

    if name not in registry.NAMES:
        return unknown("attention provider", name, registry.NAMES)
    if name in DECODE_ONLY:
        return f"{name} computes decode steps alone: name a provider that computes prompts too"
    for part in dict.fromkeys((name, decode_provider(name))):
        absent = registry.provider(part).unavailable(torch.device(device))
        if absent is not None:
            return f"attention provider {part}: {absent}"
        if device == "cpu" and part.startswith("triton"):
            return (
                f"attention provider {part}: Triton's interpreter, which it runs in on a CPU, has "
                "no speed to measure; benchmarks/test_attention.py checks what it computes"
            )
    for problem in problems(case):
        part = decode_provider(name) if problem.is_decode else name
        refused = registry.provider(part).unsupported(problem)
        if refused is not None:
            return f"attention provider {part}: {refused}"
    return None


def problems(case: Case) -> list[Problem]:
    """Return what a named model asks of its attention: the prompt, then a decode step if any.

    A local folder's shape is not known before it is read: none.
    """
    from perfkit.attention.problem import Problem

    arch = ARCHITECTURES.get(case.model)
    if arch is None:
        return []
    lengths = [(case.prompt_len, case.prompt_len)]
    if case.new_tokens > 1:
        lengths.append((1, case.prompt_len + 1))
    dtype = PRECISIONS[case.precision].compute
    return [
        Problem(dtype, q_len > 1, case.batch, arch.heads, arch.kv_heads, q_len, kv_len,
                arch.head_dim)
        for q_len, kv_len in lengths
    ]  # fmt: skip


def implementation(case: Case) -> tuple[str, dict[str, str]]:
    """Return transformers' name of the case's attention, and what the notes must say of it."""
    if case.provider is None:
        name = ATTENTION[case.attention]
        return name, {"attention_implementation": name}
    from perfkit.attention.transformers_hook import decode_provider, register

    name = register(case.provider)
    return name, {
        "attention_implementation": name,
        "attention_decode": decode_provider(case.provider),
    }


def uncheckable(case: Case, source: ModelSource) -> None:
    """Let every case be checked: all arms run the reference's weights."""
    del case, source


def before_rounds_s() -> float:
    """Allow no more than every start is allowed."""
    return 0.0


def load_key(case: Case) -> Hashable:
    """Both arms run the same weights."""
    return ("torch", case.model, case.precision, case.tp)


def load(case: Case, source: ModelSource, device: str) -> Loaded:
    """Build the model on the device."""
    prepare(device)
    return Loaded(models.build(source, case.precision, device), device)


def prepare(device: str) -> None:
    """Make ready a process that is to hold a model: compiled code kept on disk, fp32 in full.

    A GPU would take TF32 where it may.
    """
    import torch

    compiled_cache.use(device)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
