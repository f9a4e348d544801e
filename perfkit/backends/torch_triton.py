"""torch-triton: the fastest written here on the same weights: our kernels, one CUDA graph a token.

On a CPU the same weights run in plain torch, and the notes say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.architectures import ARCHITECTURES
from perfkit.backends import torch_common
from perfkit.backends.loop_engine import LoopEngine
from perfkit.backends.torch_common import before_rounds_s, load, load_key, uncheckable

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from perfkit.backends.engine import Loaded
    from perfkit.cases import Case
    from perfkit.decoding.cache import Cache
    from perfkit.decoding.loops import Loop
    from perfkit.decoding.weights import Weights

__all__ = [
    "before_rounds_s",
    "build",
    "load",
    "load_key",
    "uncheckable",
    "unsupported",
]

MOST_ROWS = 32
_HEAD_DIMS = (16, 32, 64, 128)
_CC = (9, 0)


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
        if found != _CC:
            return f"needs compute capability 9.0 (Hopper), found {found[0]}.{found[1]}"
    return torch_common.unsupported(case, device)


def build(loaded: Loaded, case: Case, *, interpreted: bool = False) -> LoopEngine:
    """Fuse the weights; memory is taken and kernels are compiled in the first run.

    ``interpreted`` runs the kernels on a CPU, to see what they compute: triton must have been
    imported with TRITON_INTERPRET=1.
    """
    cuda = loaded.device == "cuda"
    kernels = cuda or interpreted
    provider = _prompt_provider(case, loaded.device)

    def made(weights: Weights, cache: Cache, tables: tuple[torch.Tensor, torch.Tensor]) -> Loop:
        from perfkit.decoding.loops import GraphLoop, PlainLoop
        from perfkit.decoding.step import Step

        if not kernels:
            return PlainLoop(weights, cache, tables)

        def prompt(ids: torch.Tensor) -> torch.Tensor:
            from perfkit.decoding import elementwise
            from perfkit.decoding.forward import last_logits

            return last_logits(weights, cache, ids, 0, tables, elementwise, _attention(provider))

        return GraphLoop(Step(weights, cache, tables), prompt, graphs=cuda)

    notes = {
        "cache": "static, read where it is valid",
        "compiled": cuda,
        "kernels": "Triton" if kernels else None,
        "cuda_graphs": cuda,
        "attention_implementation": provider,
        "attention_decode": "attention_step" if kernels else "torch",
        "last_layer": "after attention, the last position alone",
        "fallback": _fallback(loaded.device, interpreted),
    }
    return LoopEngine(loaded, case, made, notes)


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

    def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool) -> torch.Tensor:
        return sdpa(q, k, v, causal=causal, provider=name)

    return attention
