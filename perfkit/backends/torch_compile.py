"""torch-compile: what torch.compile gives a careful user, and nothing but PyTorch.

Fused weights, a static cache read where it is valid, compiled layers, one CUDA graph a token.

On a CPU the same loop runs, compiled where a C++ compiler is found, and the notes say which.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from perfkit.backends import torch_common
from perfkit.backends.loop_engine import LoopEngine
from perfkit.backends.torch_common import ATTENTION, before_rounds_s, load, load_key, uncheckable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch

    from perfkit.backends.engine import Loaded
    from perfkit.cases import Case
    from perfkit.decoding.cache import Cache
    from perfkit.decoding.loops import Loop
    from perfkit.decoding.weights import Weights

__all__ = [
    "CompiledEngine",
    "before_rounds_s",
    "build",
    "load",
    "load_key",
    "uncheckable",
    "unsupported",
]


def unsupported(case: Case, device: str) -> str | None:
    """Return why this loop cannot run the case on ``device``, or None."""
    if case.provider is not None:
        return (
            "the static cache is longer than what is valid in it, and attention providers take no "
            "mask: use torch-eager, or plain fmha"
        )
    if case.tp != 1:
        return (
            f"torch-compile runs on one device: for tp {case.tp} use torch-eager, whose ranks "
            "transformers shards"
        )
    return torch_common.unsupported(case, device)


def build(loaded: Loaded, case: Case) -> CompiledEngine:
    """Fuse the weights; memory is taken and code is compiled in the first run."""
    return CompiledEngine(loaded, case, _why_uncompiled(loaded.device))


def _why_uncompiled(device: str) -> str | None:
    if device == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
        return "no C++ compiler found (g++, or what CXX names)"
    return None


class CompiledEngine(LoopEngine):
    """The shared loop over compiled layers, whose code goes when it is released."""

    def __init__(self, loaded: Loaded, case: Case, uncompiled: str | None) -> None:
        """Fuse the weights, and say in the notes what will run."""
        cuda = loaded.device == "cuda"

        def made(weights: Weights, cache: Cache, tables: tuple[torch.Tensor, torch.Tensor]) -> Loop:
            from perfkit.decoding.compiled import Compiled
            from perfkit.decoding.loops import GraphLoop

            compiler = _as_it_is if uncompiled else _compiled
            both = Compiled(weights, cache, tables, fused=case.fused, compiler=compiler)

            def prompt(ids: torch.Tensor) -> torch.Tensor:
                with _preferred():
                    return both.prompt(ids)

            return GraphLoop(both, prompt, graphs=cuda)

        notes = {
            "cache": "static, read up to a quarter's border",
            "compiled": not uncompiled,
            "compile_mode": None if uncompiled else "a layer, coordinate descent",
            "cuda_graphs": cuda,
            "fallback": uncompiled,
            "attention_implementation": ATTENTION[case.attention],
        }
        super().__init__(loaded, case, made, notes)

    def release(self) -> None:
        """Drop cache, graphs and compiled code; see Engine."""
        import torch

        super().release()
        torch.compiler.reset()


def _as_it_is(function: Any) -> Any:
    return function


def _compiled(function: Any) -> Any:
    import torch

    return torch.compile(
        function, fullgraph=True, dynamic=False, options={"coordinate_descent_tuning": True}
    )


def _preferred() -> AbstractContextManager[None]:
    """Let cuDNN's attention come first: the fastest of torch's for prompts on Hopper."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    order = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION,
             SDPBackend.MATH]  # fmt: skip
    return sdpa_kernel(order, set_priority=True)
