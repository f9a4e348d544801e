"""Planted faults: attention functions that are wrong in one way each, by transformers' name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

FAULTS = ("scale", "mask-future", "mask-past", "kv-swap")


def plant(fault: str) -> str:
    """Register the faulty attention with transformers and return its name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    name = f"fault-{fault}"
    AttentionInterface.register(name, _FUNCTIONS[fault])
    AttentionMaskInterface.register(name, eager_mask)
    return name


def _eager() -> Callable[..., Any]:
    from transformers.models.llama.modeling_llama import eager_attention_forward

    return eager_attention_forward


def _scale(module: Any, q: Any, k: Any, v: Any, mask: Any, scaling: float, **kw: Any) -> Any:
    """Multiply the softmax scale by 1.05."""
    return _eager()(module, q, k, v, mask, scaling * 1.05, **kw)


def _mask_future(module: Any, q: Any, k: Any, v: Any, mask: Any, scaling: float, **kw: Any) -> Any:
    """Let each prompt token see one token of the future."""
    return _eager()(module, q, k, v, _shift(mask, 1), scaling, **kw)


def _mask_past(module: Any, q: Any, k: Any, v: Any, mask: Any, scaling: float, **kw: Any) -> Any:
    """Hide from each prompt token (but the first) itself."""
    return _eager()(module, q, k, v, _shift(mask, -1), scaling, **kw)


def _shift(mask: torch.Tensor, by: int) -> torch.Tensor:
    import torch

    if mask.shape[2] == 1:
        return mask
    if by > 0:
        return torch.cat((mask[:, :, 1:], mask[:, :, -1:]), dim=2)
    return torch.cat((mask[:, :, :1], mask[:, :, :-1]), dim=2)


def _kv_swap(module: Any, q: Any, k: Any, v: Any, mask: Any, scaling: float, **kw: Any) -> Any:
    """Take key and value heads 0 and 1 for each other."""
    heads = [1, 0, *range(2, k.shape[1])]
    return _eager()(module, q, k[:, heads], v[:, heads], mask, scaling, **kw)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "scale": _scale,
    "mask-future": _mask_future,
    "mask-past": _mask_past,
    "kv-swap": _kv_swap,
}
