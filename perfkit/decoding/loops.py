"""A prompt, then token after token: by our kernels in CUDA graphs, or in plain torch on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from perfkit.decoding import elementwise, plain
from perfkit.decoding.cache import Cache
from perfkit.decoding.forward import last_logits, torch_attention
from perfkit.decoding.step import Step
from perfkit.decoding.weights import rope_tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from perfkit.decoding.forward import Attention
    from perfkit.decoding.weights import Weights


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
    """The same weights and cache in plain torch; positions are on the host, as the device is."""

    def __init__(self, model: Any, weights: Weights, batch: int, length: int) -> None:
        """Take the memory of the cache."""
        self._weights, self._tables = weights, rope_tables(model, length)
        self._cache = Cache.empty(weights, batch, length)
        self._history = torch.zeros(batch, length + 1, dtype=torch.int64)
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


class KernelLoop:
    """Our kernels; on a GPU one CUDA graph a prompt and one a step, captured when first needed.

    On a CPU they run in Triton's interpreter, one by one.
    """

    def __init__(
        self, model: Any, weights: Weights, batch: int, length: int, attention: Attention
    ) -> None:
        """Take the memory of cache and step; nothing is compiled yet."""
        self._weights, self._attention = weights, attention
        self._tables = rope_tables(model, length)
        self._cache = Cache.empty(weights, batch, length)
        self._step = Step(weights, self._cache, self._tables)
        self._ids: torch.Tensor | None = None
        self._prompt: Callable[[], None] | None = None
        self._replay: Callable[[], None] | None = None

    @property
    def logits(self) -> torch.Tensor:
        """(B, vocab) fp32; see Loop."""
        return self._step.logits

    def begin(self, ids: torch.Tensor) -> None:
        """Take in the prompts; see Loop."""
        if self._ids is None or self._ids.shape != ids.shape:
            self._ids = ids.clone()
            self._prompt = None
        self._ids.copy_(ids)
        if self._prompt is None:
            self._prompt = _captured(self._take_in)
        self._prompt()

    def advance(self) -> None:
        """Replay a step; see Loop."""
        if self._replay is None:
            # Warming up and capturing runs steps: what they change is put back.
            step = self._step
            kept = [x.clone() for x in step.state]
            self._replay = _captured(step.launch)
            for x, before in zip(step.state, kept, strict=True):
                x.copy_(before)
        self._replay()

    def give(self, tokens: torch.Tensor) -> None:
        """Replace the chosen tokens; see Loop."""
        self._step.feed(tokens)

    def chosen(self, prompt_len: int, count: int) -> torch.Tensor:
        """Return tokens; see Loop."""
        return self._step.history[:, prompt_len - 1 : prompt_len - 1 + count].clone()

    def _take_in(self) -> None:
        ids, step = self._ids, self._step
        assert ids is not None  # noqa: S101  (begin sets it)
        step.positions.fill_(ids.shape[1] - 1)
        step.logits.copy_(
            last_logits(
                self._weights, self._cache, ids, 0, self._tables, elementwise, self._attention
            )
        )
        step.choose()


def _captured(run: Callable[[], None]) -> Callable[[], None]:
    """Compile by a first run, then capture; return what replays it. On a CPU, ``run`` itself."""
    if not torch.cuda.is_available():
        return run
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay
