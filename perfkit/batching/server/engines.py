"""What executes a batch: an engine a batch size, all of one loaded model."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from perfkit.machine.clocks import round_clock
from perfkit.measurement.steady import warm_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.backends.engine import Engine
    from perfkit.cases import Case
    from perfkit.machine.clocks import RoundClock
    from perfkit.measurement.slot import Slot
    from perfkit.measurement.steady import Warmup


class Engines:
    """Generates for batches of 1 to ``case.batch`` prompts, each of P tokens, N new ones each."""

    def __init__(self, case: Case, slot: Slot) -> None:
        """Load the model and build the engines; what compiles does so in ``warm_up``."""
        self.case, self._slot = case, slot
        self._engines: list[tuple[Engine, RoundClock]] = []
        for batch in range(1, case.batch + 1):
            engine = slot.engine(case.but(batch=batch))
            apart = engine.apart
            clock = apart.clock if apart else round_clock(slot.device, case.new_tokens)
            self._engines.append((engine, clock))

    def __call__(self, prompts: Sequence[NDArray[np.int64]]) -> tuple[float, ...]:
        """Generate for these prompts, (P,) each; return when each token was at the host.

        Seconds of ``time.monotonic``, an event loop's clock too. A GPU's times are its events', put
        onto the host's clock by the reading taken once the last of them is over.
        """
        import torch

        engine, clock = self._engines[len(prompts) - 1]
        ids = torch.from_numpy(np.stack(prompts)).to(self._slot.device)
        clock.submit()
        tokens = engine.generate(ids, self.case.new_tokens, clock.stamp)
        took = clock.finish()
        end = time.monotonic()
        times = tuple(end - (took.seconds - token) for token in took.trace.tokens_s)
        expected = (len(prompts), self.case.new_tokens)
        if tuple(tokens.shape) != expected or len(times) != self.case.new_tokens:
            raise RuntimeError(
                f"{self.case.backend} returned tokens of shape {tuple(tokens.shape)} and "
                f"{len(times)} times, expected {expected}"
            )
        return times

    def warm_up(self, prompts: NDArray[np.int64], cap: int) -> dict[int, Warmup]:
        """Run every batch size until it is steady, the largest first, ``cap`` rounds at most.

        ``prompts`` are (case.batch, P). Returns how it went, by batch size.
        """

        def once(batch: int, _: int) -> float:
            start = time.monotonic()
            self(list(prompts[:batch]))
            return time.monotonic() - start

        sizes = range(self.case.batch, 0, -1)
        return {batch: warm_up(partial(once, batch), cap) for batch in sizes}

    def release(self) -> None:
        """Give everything back."""
        for engine, _ in self._engines:
            engine.release()
        self._engines.clear()
        self._slot.empty()
