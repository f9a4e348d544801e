"""What both PyTorch arms share: loading, attention by name, and what a device can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.backends.engine import Loaded
from perfkit.inputs import models

if TYPE_CHECKING:
    from collections.abc import Hashable

    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource

# transformers' names: eager materialises the scores, sdpa takes torch's fused kernels.
ATTENTION = {"nofmha": "eager", "fmha": "sdpa"}
_BF16_CC = (8, 0)


def unsupported(case: Case, device: str) -> str | None:
    """Return why PyTorch cannot run this case on ``device``, or None."""
    if case.attention not in ATTENTION:
        return f"attention provider {case.provider!r} is not known to {case.backend}; known: none"
    if case.tp != 1:
        return f"{case.backend} runs on one device: tp {case.tp} needs tensor parallelism"
    if device == "cpu" and case.precision == "fp16":
        return "fp16 on a CPU has no fast kernels (about 1,000 times slower than bf16): use bf16"
    if device == "cuda" and case.precision == "bf16":
        import torch

        capability = torch.cuda.get_device_capability()
        if capability < _BF16_CC:
            found = ".".join(map(str, capability))
            return f"bf16 needs compute capability 8.0 or higher, found {found}"
    return None


def load_key(case: Case) -> Hashable:
    """Both arms run the same weights."""
    return ("torch", case.model, case.precision)


def load(case: Case, source: ModelSource, device: str) -> Loaded:
    """Build the model on the device, fp32 products in full fp32."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    model = models.build(source, case.precision, device)
    return Loaded(model, device, source.arch.vocab)
