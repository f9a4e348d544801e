"""How a kernel call is timed: device events after a flush on a GPU, the host's clock on a CPU."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

_FLUSH_BYTES = 1 << 30  # many times any L2
_FLUSHES = (
    4  # about 1 ms: the slowest host enqueues the timed call meanwhile (0.25 ms was not enough)
)
_TAKE_S = 0.6
_MOST_ROUNDS, _FEWEST_ROUNDS = 60, 10


@dataclass(frozen=True)
class Timed:
    """A call to time, and what is run untimed right before it."""

    before: Callable[[], object]
    call: Callable[[], object]


class Bench(Protocol):
    """A device's way of running, watching and timing calls."""

    device: torch.device
    times_mean_something: bool

    def poison(self, like: torch.Tensor) -> None:
        """Leave NaN where an output like this one will be allocated."""

    def wait(self) -> None:
        """Wait for the device."""

    def kernels(self, call: Callable[[], object]) -> dict[str, int]:
        """Run once under the profiler; return kernels by name."""
        ...

    def before(self, call: Callable[[], object], cache: str) -> Callable[[], object]:
        """Return what brings the cache into this state."""
        ...

    def rounds(self, turns: Sequence[Timed]) -> int:
        """Return how many rounds a take should have."""
        ...

    def round(self, turns: Sequence[Timed]) -> list[float]:
        """Time each call once, in order; return seconds."""
        ...


class GpuBench:
    """CUDA events. The L2 is flushed by reading, so that no call pays for another's write-backs."""

    times_mean_something = True

    def __init__(self) -> None:
        """Allocate the buffer that the flush reads."""
        import torch

        self.device = torch.device("cuda", torch.cuda.current_device())
        self._buffer = torch.ones(_FLUSH_BYTES // 4, dtype=torch.float32, device=self.device)
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def poison(self, like: torch.Tensor) -> None:
        """Fill a block of the caching allocator with NaN and give it back."""
        import torch

        torch.full_like(like, float("nan"))

    def wait(self) -> None:
        """Wait for the device."""
        import torch

        torch.cuda.synchronize()

    def kernels(self, call: Callable[[], object]) -> dict[str, int]:
        """Run once under torch's profiler."""
        from perfkit.machine.kernels import profile

        return profile(call, "cuda")

    def _flush(self) -> None:
        for _ in range(_FLUSHES):
            self._buffer.sum()

    def before(self, call: Callable[[], object], cache: str) -> Callable[[], object]:
        """Cold: read 1 GiB, four times. Hot: the same, to hide the enqueueing, then the call."""
        if cache == "cold":
            return self._flush

        def used() -> None:
            self._flush()
            call()

        return used

    def rounds(self, turns: Sequence[Timed]) -> int:
        """As many as fit 0.6 s a take, 10 to 60."""
        self.wait()
        start = time.perf_counter()
        self.round(turns)
        each = time.perf_counter() - start
        return max(_FEWEST_ROUNDS, min(_MOST_ROUNDS, int(_TAKE_S / each)))

    def round(self, turns: Sequence[Timed]) -> list[float]:
        """Enqueue everything, then wait once and read the events."""
        import torch

        while len(self._events) < len(turns):
            pair = (
                torch.cuda.Event(enable_timing=True),
                torch.cuda.Event(enable_timing=True),
            )
            self._events.append(pair)
        for turn, (start, end) in zip(turns, self._events, strict=False):
            turn.before()
            start.record()
            turn.call()
            end.record()
        self.wait()
        return [
            start.elapsed_time(end) / 1e3
            for _, (start, end) in zip(turns, self._events, strict=False)
        ]


class CpuBench:
    """The interpreter's home: outputs are judged, nothing is timed."""

    times_mean_something = False

    def __init__(self) -> None:
        """Compute on the CPU."""
        import torch

        self.device = torch.device("cpu")

    def poison(self, like: torch.Tensor) -> None:
        """Nothing to do: the CPU's allocator promises no block."""

    def wait(self) -> None:
        """Nothing to wait for."""

    def kernels(self, call: Callable[[], object]) -> dict[str, int]:
        """No kernel runs in an interpreter."""
        del call
        return {}

    def before(self, call: Callable[[], object], cache: str) -> Callable[[], object]:
        """No cache to prepare."""
        del cache
        return call

    def rounds(self, turns: Sequence[Timed]) -> int:
        """One: nothing is timed."""
        del turns
        return 1

    def round(self, turns: Sequence[Timed]) -> list[float]:
        """Run each once."""
        seconds = []
        for turn in turns:
            start = time.perf_counter()
            turn.call()
            seconds.append(time.perf_counter() - start)
        return seconds


def bench(device: str) -> Bench:
    """Return the bench of "cuda" or "cpu"."""
    return GpuBench() if device == "cuda" else CpuBench()
