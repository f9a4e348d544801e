"""The Engine of a process of its own: calls go over, tokens and the times taken there come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.machine.clocks import Round
from perfkit.metrics import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch

    from perfkit.backends.apart.process import EngineProcess


class ToldClock:
    """A round's times as the engine's process took them, seconds since its own submission."""

    def __init__(self) -> None:
        """Know of no round yet."""
        self.told: Round | None = None

    def submit(self) -> None:
        """Forget the last round."""
        self.told = None

    def stamp(self) -> None:
        """Take none: the process did."""

    def finish(self) -> Round:
        """Return the round that was told of."""
        if self.told is None:
            raise RuntimeError("the engine's process told no times of this round")
        return self.told


class ApartEngine:
    """Tokens by ``generate`` calls of one process; a backend gives what else it says of itself."""

    def __init__(
        self,
        process: EngineProcess,
        notes: Mapping[str, object],
        attention: Callable[[], dict[str, Any]],
        memory: Callable[[], dict[str, object]],
        logits: Callable[[torch.Tensor, torch.Tensor], Iterator[torch.Tensor]] | None = None,
    ) -> None:
        """Keep all; ``attention`` and ``memory`` are Apart's, ``logits`` replaces the call."""
        self._process = process
        self._notes = dict(notes)
        self._attention, self._memory, self._logits = attention, memory, logits
        self.clock = ToldClock()

    @property
    def apart(self) -> ApartEngine:
        """It tells itself."""
        return self

    @property
    def notes(self) -> Mapping[str, object]:
        """What was known at the start, and since a round where its times come from."""
        return self._notes

    def generate(
        self, ids: torch.Tensor, new_tokens: int, stamp: Callable[[], None]
    ) -> torch.Tensor:
        """Decode greedily; see Engine. The process takes the times, so ``stamp`` is not called."""
        import torch

        del stamp
        told, arrays = self._process.call(
            "generate",
            self._process.limits.call_s,
            {"new_tokens": new_tokens},
            ids=ids.cpu().numpy(),
        )
        trace = Trace(tuple(arrays["tokens_s"].tolist()))
        self.clock.told = Round(trace.e2e_s, trace, told["host_s"])
        self._notes["times"] = told["times"]
        return torch.from_numpy(arrays["tokens"].copy())

    def forced_logits(self, ids: torch.Tensor, forced: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield what the process computed, (B, V) a step; see Engine."""
        if self._logits is not None:
            yield from self._logits(ids, forced)
            return
        yield from asked_logits(self._process, ids, forced)

    def attention(self) -> dict[str, Any]:
        """Return requested against actual attention; see Apart."""
        return self._attention()

    def memory(self) -> dict[str, object]:
        """Return what the process says of its memory; see Apart."""
        return self._memory()

    def release(self) -> None:
        """End the process and whatever it started; see Engine."""
        self._process.close()


def asked_logits(
    process: EngineProcess, ids: torch.Tensor, forced: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Ask a process for the logits of every step, and yield them step by step, (B, V) fp32."""
    import torch

    _, arrays = process.call(
        "logits", process.limits.call_s, ids=ids.cpu().numpy(), forced=forced.cpu().numpy()
    )
    for step in arrays["logits"]:
        yield torch.from_numpy(step.copy())
