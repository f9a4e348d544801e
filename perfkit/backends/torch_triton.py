"""torch-triton: the fastest written here on the same weights: our kernels, one CUDA graph a token.

On a CPU the same weights run in plain torch, or our kernels in Triton's interpreter where
TRITON_INTERPRET=1 is set; the notes say which.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from perfkit.architectures import ARCHITECTURES
from perfkit.backends import torch_common
from perfkit.backends.torch_common import before_rounds_s, load, load_key, uncheckable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch

    from perfkit.backends.engine import Loaded
    from perfkit.cases import Case
    from perfkit.decoding.loops import Loop

__all__ = [
    "TritonEngine",
    "before_rounds_s",
    "build",
    "load",
    "load_key",
    "uncheckable",
    "unsupported",
]

MOST_ROWS = 32
_HEAD_DIMS = (16, 32, 64, 128)
_CC = (8, 0)


def unsupported(case: Case, device: str) -> str | None:
    """Return why this loop cannot run the case on ``device``, or None."""
    if case.attention != "fmha":
        return (
            f"torch-triton has fused attention of its own alone: for {case.attention} use "
            "torch-eager"
        )
    if case.tp != 1:
        return f"torch-triton runs on one device: for tp {case.tp} use torch-eager"
    if case.batch > MOST_ROWS:
        return f"torch-triton's kernels take up to {MOST_ROWS} rows, got batch {case.batch}"
    arch = ARCHITECTURES.get(case.model)
    if arch is not None and arch.head_dim not in _HEAD_DIMS:
        return f"head_dim must be one of {_HEAD_DIMS}, got {arch.head_dim}"
    if device == "cuda":
        import torch

        found = torch.cuda.get_device_capability()
        if found < _CC:
            return f"needs compute capability 8.0 or higher, found {found[0]}.{found[1]}"
    return torch_common.unsupported(case, device)


def build(loaded: Loaded, case: Case) -> TritonEngine:
    """Fuse the weights; memory is taken and kernels are compiled in the first run."""
    return TritonEngine(loaded, case)


class TritonEngine:
    """A prompt is one call, and so is each further token; nothing waits for the device."""

    apart = None

    def __init__(self, loaded: Loaded, case: Case) -> None:
        """Fuse the weights in place: other arms that share them go on with views."""
        from perfkit.decoding.weights import fused

        self._model, self._device = loaded.model, loaded.device
        self._weights = fused(loaded.model)
        self._batch, self._length = case.batch, case.prompt_len + case.new_tokens
        self._loop: Loop | None = None
        interpreted = os.environ.get("TRITON_INTERPRET") == "1"
        self._kernels = self._device == "cuda" or interpreted
        self._provider = _prompt_provider(case, self._device)
        self.notes: Mapping[str, object] = {
            "cache": "static, read where it is valid",
            "compiled": self._device == "cuda",
            "kernels": "Triton" if self._kernels else None,
            "cuda_graphs": self._device == "cuda",
            "attention_implementation": self._provider,
            "attention_decode": "attention_step" if self._kernels else "torch",
            "fallback": _fallback(self._device, interpreted),
        }

    def generate(
        self, ids: torch.Tensor, new_tokens: int, stamp: Callable[[], None]
    ) -> torch.Tensor:
        """Decode greedily; see Engine."""
        import torch

        with torch.no_grad():
            loop = self._ready()
            loop.begin(ids)
            stamp()
            for _ in range(1, new_tokens):
                loop.advance()
                stamp()
            return loop.chosen(ids.shape[1], new_tokens)

    def forced_logits(self, ids: torch.Tensor, forced: torch.Tensor) -> Iterator[torch.Tensor]:
        """Prefill, then the same step on forced tokens; see Engine."""
        import torch

        with torch.no_grad():
            loop = self._ready()
            loop.begin(ids)
            yield loop.logits.clone()
            for token in forced.unbind(dim=1):
                loop.give(token)
                loop.advance()
                yield loop.logits.clone()

    def release(self) -> None:
        """Drop cache, buffers and graphs; the fused weights stay, as the model's own."""
        self._loop = None

    def _ready(self) -> Loop:
        from perfkit.decoding.loops import KernelLoop, PlainLoop

        if self._loop is None:
            sizes = (self._model, self._weights, self._batch, self._length)
            self._loop = (
                KernelLoop(*sizes, _attention(self._provider))
                if self._kernels
                else PlainLoop(*sizes)
            )
        return self._loop


def _fallback(device: str, interpreted: bool) -> str | None:
    if device == "cuda":
        return None
    if interpreted:
        return "a CPU: Triton's interpreter runs the kernels, which has no speed to measure"
    return "a CPU: plain torch over the fused weights, no kernel of ours"


def _prompt_provider(case: Case, device: str) -> str:
    """Return who computes the prompt's attention: our Hopper kernel where it can, else torch."""
    import torch

    from perfkit.attention.registry import provider

    hopper = provider("triton-hopper")
    if hopper.unavailable(torch.device(device)) is not None:
        return "torch"
    problems = torch_common.problems(case)
    if not problems or hopper.unsupported(problems[0]) is not None:
        return "torch"
    return hopper.name


def _attention(
    name: str,
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool], torch.Tensor]:
    from perfkit.attention import sdpa
    from perfkit.decoding.forward import torch_attention

    if name == "torch":
        return torch_attention

    def attention(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool
    ) -> torch.Tensor:
        return sdpa(q, k, v, causal=causal, provider=name)

    return attention
