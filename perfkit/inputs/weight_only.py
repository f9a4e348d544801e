"""Weight-only quantisation: int8 or fp8 (e4m3) weights with a scale a row, products in full.

Import it lazily: it needs torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import linear

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

# The largest value of each type.
_TYPES = {"int8": (torch.int8, 127.0), "fp8": (torch.float8_e4m3fn, 448.0)}


class WeightOnlyLinear(torch.nn.Module):
    """``weight`` (out, in) int8 or fp8, ``scale`` (out,) fp32; products in the input's type."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        """Keep both, frozen."""
        super().__init__()
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.scale = torch.nn.Parameter(scale, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) -> (…, out)."""
        return product(x, self.weight, self.scale)


def product(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(…, in) times (out, in) int8 or fp8 weights in the type of ``x``, scaled in fp32.

    As our kernels do. Inductor's own int8 pattern, which fails on a scale that was converted within
    the graph, does not match it.
    """
    return (linear(x, weight.to(x.dtype)).float() * scale).to(x.dtype)


def quantise(model: LlamaForCausalLM, kind: str) -> None:
    """Replace the linear layers of all decoder layers; embedding and head stay as they are.

    As TensorRT-LLM's weight-only quantisation has it. ``kind`` is int8 or fp8. Raises UsageError
    for layers with biases, which are not computed.
    """
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, child in list(part.named_children()):
                if isinstance(child, torch.nn.Linear):
                    if child.bias is not None:
                        raise UsageError(f"{name} has a bias: weight-only layers have none")
                    setattr(part, name, WeightOnlyLinear(*rounded(child.weight, kind)))


def rounded(weight: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (out, in) weights in int8 or fp8 and their (out,) fp32 scales.

    Each row, taken in bf16, is divided by its scale, its largest magnitude over the type's largest
    value, and rounded to nearest even; a row of zeros has scale 1.
    """
    dtype, largest = _TYPES[kind]
    values = weight.detach().to(torch.bfloat16).float()
    scale = values.abs().amax(dim=1) / largest
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    values = values / scale[:, None]
    if dtype is torch.int8:
        values = values.round().clamp(-largest, largest)
    return values.to(dtype), scale
