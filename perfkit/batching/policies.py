"""How requests become batches: frozen values that cannot be built wrong.

Times are in seconds. ``tie`` says what a dispatch sees of arrivals at the very same time:
"arrivals_first" all of them, "dispatch_first" none but the arrival that caused it. A request whose
deadline is the instant of a dispatch is served by it under either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from perfkit.errors import UsageError, unknown

Tie: TypeAlias = Literal["arrivals_first", "dispatch_first"]
AtEnd: TypeAlias = Literal["flush", "strand"]
TimeoutAction: TypeAlias = Literal["reject", "delay"]
MAX_INSTANCES = 4096  # an instance is a slot in an array that each batch searches


@dataclass(frozen=True)
class Static:
    """Batches of exactly ``batch`` requests, on ``instances`` identical instances.

    What is left after the last arrival, fewer than ``batch``, is sent then ("flush") or is never
    served and reported so ("strand").
    """

    batch: int
    instances: int = 1
    at_end: AtEnd = "flush"
    tie: Tie = "arrivals_first"

    def __post_init__(self) -> None:
        """Refuse what no server could do."""
        _count("batch", self.batch)
        _count("instances", self.instances, MAX_INSTANCES)
        _one_of("at_end", self.at_end, get_args(AtEnd))
        _one_of("tie", self.tie, get_args(Tie))


@dataclass(frozen=True)
class OneByOne:
    """Triton with dynamic batching off: a request an execution, first come, first served.

    ``max_batch`` is the largest request, in items, that the model takes.
    """

    max_batch: int = 1
    instances: int = 1

    def __post_init__(self) -> None:
        """Refuse what no server could do."""
        _count("max_batch", self.max_batch)
        _count("instances", self.instances, MAX_INSTANCES)


@dataclass(frozen=True)
class Dynamic:
    """Triton Inference Server's dynamic batcher.

    ``max_batch`` and ``preferred`` count items, a request being one or more; no preferred size
    means ``max_batch`` alone. ``delay_s``: how long the oldest waiting request may be kept for a
    larger batch; with math.inf it is kept until one fills, and ``at_end`` says what becomes of the
    last. ``max_queue``: waiting requests (of a priority level) at which the next is refused, 0 for
    no limit. ``timeout_s``: the longest wait, None for any; later than that a request is refused
    ("reject") or served after all others of its level ("delay"). ``levels``: priority levels,
    1 the first served; 0 for none. ``preserve_ordering``: answers leave in the order of arrival.

    ``prefetch``: batches are formed while instances are busy, as Triton's code does it, queue of
    payloads and quirks included (docs/batching-dynamic.md). It matters with preferred sizes or
    with requests of many items; Triton itself prefetches only without timeout, limit and levels.
    """

    max_batch: int
    delay_s: float = 0.0
    preferred: tuple[int, ...] = ()
    instances: int = 1
    max_queue: int = 0
    timeout_s: float | None = None
    timeout_action: TimeoutAction = "reject"
    levels: int = 0
    preserve_ordering: bool = False
    prefetch: bool = False
    at_end: AtEnd = "flush"
    tie: Tie = "arrivals_first"

    def __post_init__(self) -> None:
        """Refuse what Triton would refuse, and what never ends."""
        _count("max_batch", self.max_batch)
        _count("instances", self.instances, MAX_INSTANCES)
        for size in self.preferred:
            _count("preferred", size, self.max_batch)
        _one_of("timeout_action", self.timeout_action, get_args(TimeoutAction))
        _one_of("at_end", self.at_end, get_args(AtEnd))
        _one_of("tie", self.tie, get_args(Tie))
        _count("max_queue", self.max_queue, least=0)
        _count("levels", self.levels, 64, least=0)
        if not self.delay_s >= 0:
            raise UsageError(f"delay_s {self.delay_s!r}: expected seconds, 0 or more")
        if self.timeout_s is not None and not 0 < self.timeout_s < math.inf:
            raise UsageError(f"timeout_s {self.timeout_s!r}: expected seconds over 0, or None")
        if self.prefetch and self.limits:
            raise UsageError(
                f"prefetch with {', '.join(self.limits)}: Triton forms no batch ahead with these"
            )
        if self.prefetch and math.isinf(self.delay_s):
            raise UsageError("prefetch with delay_s inf: expected a finite delay, as Triton's is")

    @property
    def limits(self) -> tuple[str, ...]:
        """Names of the fields that make requests leave their place in the queue."""
        named = {
            "timeout_s": self.timeout_s is not None,
            "max_queue": self.max_queue > 0,
            "levels": self.levels > 0,
        }
        return tuple(name for name, is_set in named.items() if is_set)

    @property
    def preferred_sizes(self) -> tuple[int, ...]:
        """The sizes that are sent without waiting, ascending; never empty."""
        return tuple(sorted(set(self.preferred))) or (self.max_batch,)


Policy: TypeAlias = Static | OneByOne | Dynamic


def _count(name: str, value: object, most: int = 2**31 - 1, *, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise UsageError(f"{name} {value!r}: expected a whole number from {least} to {most}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(unknown(name, value, known))
