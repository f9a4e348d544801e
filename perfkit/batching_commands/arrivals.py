"""Options of how requests come."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from perfkit.batching_commands.grouped import option
from perfkit.errors import UsageError, unknown

if TYPE_CHECKING:
    from perfkit.batching.loads import Closed, Load, Process, Replay, Think

PROCESSES = ("poisson", "deterministic", "gamma", "mmpp")
ARRIVALS = (*PROCESSES, "closed", "trace")
_ARRIVALS, _REQUESTS = "Arrivals", 100_000


@dataclass(frozen=True)
class ArrivalOptions:
    """How requests come, but for their rate."""

    arrival: Annotated[str, option(_ARRIVALS, f"One of {', '.join(ARRIVALS)}.")] = "poisson"
    requests: Annotated[
        int | None, option(_ARRIVALS, "Requests a seed (100000); a trace has its own.")
    ] = None
    cv: Annotated[float | None, option(_ARRIVALS, "gamma: of the gaps; 1 is Poisson.")] = None
    phase_rates: Annotated[
        tuple[float, float] | None,
        option(_ARRIVALS, "mmpp: rates of its two phases relative to each other, as in 4 1."),
    ] = None
    phase_s: Annotated[
        tuple[float, float] | None, option(_ARRIVALS, "mmpp: how long each lasts in the mean, s.")
    ] = None
    think_ms: Annotated[
        float | None, option(_ARRIVALS, "closed: time from an answer to the next request; 0.")
    ] = None
    think: Annotated[str | None, option(_ARRIVALS, "closed: exponential (default) or fixed.")] = (
        None
    )
    trace: Annotated[
        Path | None, option(_ARRIVALS, "trace: CSV or Parquet, Azure's columns or ours.")
    ] = None

    def check(self, others: dict[str, tuple[object, tuple[str, ...]]]) -> None:
        """Refuse an unknown process, and options of another; ``others``: value and processes."""
        if self.arrival not in ARRIVALS:
            raise UsageError(unknown("arrival process", self.arrival, ARRIVALS))
        mine = {
            "requests": (self.requests, (*PROCESSES, "closed")),
            "cv": (self.cv, ("gamma",)),
            "phase-rates": (self.phase_rates, ("mmpp",)),
            "phase-s": (self.phase_s, ("mmpp",)),
            "think-ms": (self.think_ms, ("closed",)),
            "think": (self.think, ("closed",)),
            "trace": (self.trace, ("trace",)),
        }
        for name, (value, processes) in {**mine, **others}.items():
            if value is not None and self.arrival not in processes:
                raise UsageError(
                    f"--{name} is of {', '.join(processes)}, and arrivals are {self.arrival}: "
                    "leave it out, or choose another --arrival"
                )

    def open(self, rate_per_s: float) -> Load:
        """Return open arrivals at a rate."""
        from perfkit.batching.loads import Bursts, Load

        bursts = None
        if self.arrival == "mmpp":
            if self.phase_rates is None or self.phase_s is None:
                raise UsageError("mmpp needs --phase-rates and --phase-s, two numbers each")
            bursts = Bursts(self.phase_rates, self.phase_s)
        cv = 1.0 if self.cv is None else self.cv
        return Load(cast("Process", self.arrival), rate_per_s, self._number, cv, bursts)

    def closed(self, clients: int) -> Closed:
        """Return a closed loop of so many customers."""
        from perfkit.batching.loads import Closed

        think = cast("Think", self.think or "exponential")
        return Closed(clients, self._number, (self.think_ms or 0.0) / 1e3, think)

    @property
    def _number(self) -> int:
        return _REQUESTS if self.requests is None else self.requests

    def replay(self) -> Replay:
        """Return the recorded trace."""
        from perfkit.batching.loads import Replay
        from perfkit.batching.traces import read_trace

        if self.trace is None:
            raise UsageError("--arrival trace needs --trace FILE, CSV or Parquet")
        return Replay(read_trace(self.trace), str(self.trace))
