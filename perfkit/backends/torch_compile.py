"""torch-compile: our own decode loop over a static cache, one CUDA graph a token.

On a CPU the same loop runs, compiled where a C++ compiler is found, and the notes say which.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from perfkit.backends import torch_common
from perfkit.backends.torch_common import ATTENTION, before_rounds_s, load, load_key, uncheckable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch

    from perfkit.backends.engine import Loaded
    from perfkit.cases import Case

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
    """Make the static cache and the compiled step; compilation happens in the first run."""
    return CompiledEngine(loaded, case, _why_uncompiled(loaded.device))


def _why_uncompiled(device: str) -> str | None:
    if device == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
        return "no C++ compiler found (g++, or what CXX names)"
    return None


class CompiledEngine:
    """Prefill runs as it is; each further token is one call of the compiled step."""

    apart = None

    def __init__(self, loaded: Loaded, case: Case, uncompiled: str | None) -> None:
        """Allocate nothing yet: the cache takes its memory in the first prefill."""
        import torch
        from transformers import StaticCache

        self._model = loaded.model
        attention = ATTENTION[case.attention]
        self._model.set_attn_implementation(attention)
        self._cache = StaticCache(
            config=self._model.config, max_cache_len=case.prompt_len + case.new_tokens
        )
        mode = "reduce-overhead" if loaded.device == "cuda" else "default"
        self._step = (
            self._forward
            if uncompiled
            else torch.compile(self._forward, mode=mode, fullgraph=True, dynamic=False)
        )
        self.notes: Mapping[str, object] = {
            "cache": "static",
            "compiled": not uncompiled,
            "compile_mode": None if uncompiled else mode,
            "cuda_graphs": loaded.device == "cuda",
            "fallback": uncompiled,
            "attention_implementation": attention,
        }

    def _forward(
        self, token: torch.Tensor, position: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 1) token at ``position`` (1, 1) -> next (B, 1) token and (B, V) logits."""
        out = self._model(
            input_ids=token,
            position_ids=position,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits = out.logits[:, -1]
        return logits.argmax(dim=-1, keepdim=True), logits

    def _prefill(self, ids: torch.Tensor) -> torch.Tensor:
        self._cache.reset()
        positions = _positions(ids)
        return self._forward(ids, positions)[1]

    def generate(
        self, ids: torch.Tensor, new_tokens: int, stamp: Callable[[], None]
    ) -> torch.Tensor:
        """Decode greedily; see Engine."""
        import torch

        with torch.no_grad():
            tokens = torch.empty((ids.shape[0], new_tokens), dtype=torch.int64, device=ids.device)
            position = torch.full((1, 1), ids.shape[1], dtype=torch.int64, device=ids.device)
            token = self._prefill(ids).argmax(dim=-1, keepdim=True)
            tokens[:, :1] = token
            stamp()
            for k in range(1, new_tokens):
                torch.compiler.cudagraph_mark_step_begin()
                token = self._step(token.clone(), position)[0]
                # The graph's output is overwritten by its next replay: keep a copy.
                tokens[:, k : k + 1] = token
                position += 1
                stamp()
        return tokens

    def forced_logits(self, ids: torch.Tensor, forced: torch.Tensor) -> Iterator[torch.Tensor]:
        """Prefill, then the same compiled step on forced tokens; see Engine."""
        import torch

        with torch.no_grad():
            position = torch.full((1, 1), ids.shape[1], dtype=torch.int64, device=ids.device)
            yield self._prefill(ids)
            for k in range(forced.shape[1]):
                torch.compiler.cudagraph_mark_step_begin()
                yield self._step(forced[:, k : k + 1].clone(), position)[1]
                position += 1

    def release(self) -> None:
        """Drop cache, compiled code and graphs."""
        import torch

        del self._step, self._cache
        torch.compiler.reset()


def _positions(ids: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
