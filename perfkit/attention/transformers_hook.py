"""Any provider as the attention of a transformers model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.attention import inputs, registry, sdpa
from perfkit.errors import UsageError

if TYPE_CHECKING:
    import torch

# Kernels for prompts alone: their decode steps take ours, and the engine's notes say so.
_DECODE = {
    "triton-hopper": "triton-decode",
    "trtllm-fmha": "triton-decode",
    "flashinfer-fa3": "triton-decode",
}
DECODE_ONLY = ("triton-decode", "trtllm-xqa")


def decode_provider(name: str) -> str:
    """Return which provider computes the decode steps where ``name`` computes the prompt."""
    return _DECODE.get(name, name)


def register(name: str) -> str:
    """Make a provider known to transformers; return the name to give set_attn_implementation.

    Raises UsageError for an unknown provider. A memory order that a provider cannot read is
    converted by a visible copy, which counts as its time. Padding is refused: prompts here have
    exact lengths, and a provider given no mask would attend to padding.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    registry.provider(name)
    # transformers takes any name that holds "flash" for its own flash attention.
    known = f"perfkit-{name.replace('flash', 'fa')}"

    def forward(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        scaling: float | None = None,
        **rest: Any,
    ) -> tuple[torch.Tensor, None]:
        """(B, H, Sq, D) query, (B, Hkv, Sk, D) key and value -> (B, Sq, H, D)."""
        del module, rest
        if attention_mask is not None:
            raise UsageError(
                f"{known} computes plain causal attention, and a mask came: prompts must have one "
                "length without padding, and a prompt is computed in one piece"
            )
        chosen = name if query.shape[2] > 1 else decode_provider(name)
        layout = registry.provider(chosen).layout
        q, k, v = (inputs.laid_out(x, layout) for x in (query, key, value))
        out = sdpa(q, k, v, causal=query.shape[2] > 1, scale=scaling, provider=chosen)
        return out.transpose(1, 2).contiguous(), None

    AttentionInterface.register(known, forward)
    # Returns None for what plain causal attention covers, which is all that the forward takes.
    AttentionMaskInterface.register(known, sdpa_mask)
    return known
