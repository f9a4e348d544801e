"""A prompt, then token after token: each one CUDA graph on a GPU, or plain calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from perfkit.decoding import plain
from perfkit.decoding.forward import last_logits, torch_attention

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.decoding.cache import Cache
    from perfkit.decoding.weights import Weights

    Tables = tuple[torch.Tensor, torch.Tensor]


class Loop(Protocol):
    """B sequences of one length; ``logits`` (B, vocab) are those of the last call."""

    @property
    def logits(self) -> torch.Tensor:
        """What the last call computed; the next one overwrites it."""
        ...

    def begin(self, ids: torch.Tensor) -> None:
        """Forget what was, take in the prompts (B, P) and choose the first tokens."""
        ...

    def advance(self) -> None:
        """Feed the chosen (or given) tokens and choose the next ones."""
        ...

    def give(self, tokens: torch.Tensor) -> None:
        """Let the next ``advance`` feed these (B,) tokens in the place of those chosen."""
        ...

    def chosen(self, prompt_len: int, count: int) -> torch.Tensor:
        """Return the first ``count`` tokens chosen after the prompt, (B, count) int64."""
        ...


class PlainLoop:
    """Fused weights and a static cache in plain torch; positions are on the host, as the device."""

    def __init__(self, weights: Weights, cache: Cache, tables: Tables) -> None:
        """Keep them; the cache is written as tokens come."""
        self._weights, self._cache, self._tables = weights, cache, tables
        batch = cache.keys[0].shape[0]
        self._history = torch.zeros(batch, cache.length + 1, dtype=torch.int64)
        self._filled = 0
        self.logits = torch.empty(0)

    def begin(self, ids: torch.Tensor) -> None:
        """Take in the prompts; see Loop."""
        self._filled = 0
        self._run(ids)

    def advance(self) -> None:
        """Feed and choose; see Loop."""
        self._run(self._history[:, self._filled - 1 : self._filled])

    def give(self, tokens: torch.Tensor) -> None:
        """Replace the chosen tokens; see Loop."""
        self._history[:, self._filled - 1] = tokens

    def chosen(self, prompt_len: int, count: int) -> torch.Tensor:
        """Return tokens; see Loop."""
        return self._history[:, prompt_len - 1 : prompt_len - 1 + count].clone()

    def _run(self, ids: torch.Tensor) -> None:
        self.logits = last_logits(
            self._weights, self._cache, ids, self._filled, self._tables, plain, torch_attention
        )
        self._filled += ids.shape[1]
        self._history[:, self._filled - 1] = self.logits.argmax(dim=-1)


class Stepping(Protocol):
    """A step whose tokens and positions are on the device; ``history`` is (B, length + 1).

    ``state`` is what a step goes on from, besides the cache, whose rows it writes anew.
    """

    logits: torch.Tensor
    history: torch.Tensor

    @property
    def state(self) -> tuple[torch.Tensor, ...]:
        """Return the tensors to put back after a step that should not have been."""
        ...

    def place(self, tokens: int) -> None:
        """Say on the device how many tokens are in the cache."""
        ...

    def launch(self, span: int) -> None:
        """Enqueue a step that reads, of the cache, at most the first ``span`` rows."""
        ...

    def span(self, tokens: int) -> int:
        """Return the span of a step after which ``tokens`` are in the cache."""
        ...

    def choose(self) -> None:
        """Enqueue the choice of the likeliest tokens by ``logits``, and feed them."""
        ...

    def feed(self, tokens: torch.Tensor) -> None:
        """Let the next step take these (B,) tokens in the place of those chosen."""
        ...


class GraphLoop:
    """A prompt and a step on the device; on a GPU each is captured when it is first needed.

    A step is captured once for each span.
    """

    def __init__(
        self, step: Stepping, prompt: Callable[[torch.Tensor], torch.Tensor], *, graphs: bool
    ) -> None:
        """Keep both; ``prompt`` fills the cache and returns the last logits of (B, P) ids."""
        self._step, self._prompt, self._graphs = step, prompt, graphs
        self._filled = 0
        self._ids: torch.Tensor | None = None
        self._take_in: Callable[[], None] | None = None
        self._steps: dict[int, Callable[[], None]] = {}

    @property
    def logits(self) -> torch.Tensor:
        """(B, vocab); see Loop."""
        return self._step.logits

    def begin(self, ids: torch.Tensor) -> None:
        """Take in the prompts; see Loop."""
        if self._take_in is None or self._ids is None or self._ids.shape != ids.shape:
            own = self._ids = ids.clone()

            def take_in() -> None:
                self._step.place(own.shape[1] - 1)
                self._step.logits.copy_(self._prompt(own))
                self._step.choose()

            self._take_in = self._captured(take_in)
        self._ids.copy_(ids)
        self._take_in()
        self._filled = ids.shape[1]

    def advance(self) -> None:
        """Feed and choose; see Loop."""
        self._filled += 1
        span = self._step.span(self._filled)
        if span not in self._steps:
            # Warming up and capturing runs steps: what they change is put back.
            step = self._step
            kept = [x.clone() for x in step.state]
            self._steps[span] = self._captured(lambda: step.launch(span))
            for x, before in zip(step.state, kept, strict=True):
                x.copy_(before)
        self._steps[span]()

    def give(self, tokens: torch.Tensor) -> None:
        """Replace the chosen tokens; see Loop."""
        self._step.feed(tokens)

    def chosen(self, prompt_len: int, count: int) -> torch.Tensor:
        """Return tokens; see Loop."""
        return self._step.history[:, prompt_len - 1 : prompt_len - 1 + count].clone()

    def _captured(self, run: Callable[[], None]) -> Callable[[], None]:
        """Compile by a first run, then capture; return what replays it, or ``run`` itself."""
        if not self._graphs:
            return run
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        replay: Callable[[], None] = graph.replay
        return replay
