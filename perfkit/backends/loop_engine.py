"""The engine of a loop over fused weights: what torch-compile and torch-triton share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch

    from perfkit.backends.engine import Loaded
    from perfkit.cases import Case
    from perfkit.decoding.cache import Cache
    from perfkit.decoding.loops import Loop
    from perfkit.decoding.weights import Weights

    Made = Callable[[Weights, Cache, tuple[torch.Tensor, torch.Tensor]], Loop]


class LoopEngine:
    """A prompt is one call, and so is each further token; nothing waits for the device.

    The weights are fused in place: other arms that share them go on with views.
    """

    apart = None

    def __init__(self, loaded: Loaded, case: Case, made: Made, notes: Mapping[str, object]) -> None:
        """Fuse the weights; cache and loop are made, by ``made``, in the first run."""
        from perfkit.decoding.weights import fused

        self._model, self._made, self.notes = loaded.model, made, notes
        self._weights = fused(loaded.model)
        self._batch, self._length = case.batch, case.prompt_len + case.new_tokens
        self._loop: Loop | None = None

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
        from perfkit.decoding.cache import Cache
        from perfkit.decoding.weights import rope_tables

        if self._loop is None:
            cache = Cache.empty(self._weights, self._batch, self._length)
            self._loop = self._made(self._weights, cache, rope_tables(self._model, self._length))
        return self._loop
