"""A configuration to simulate, as a value that can be sent elsewhere: policy, load, service."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from perfkit.batching.continuous import TrtLlm, VllmLike
from perfkit.batching.continuous_point import Work
from perfkit.batching.fleet import Fleet
from perfkit.batching.loads import Replay, Share
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from perfkit.batching.loads import AnyLoad
    from perfkit.batching.point import Point
    from perfkit.batching.service import Split

AnyPolicy: TypeAlias = Static | OneByOne | Dynamic | Fleet | VllmLike | TrtLlm
KINDS = {
    "one-by-one": OneByOne,
    "static": Static,
    "dynamic": Dynamic,
    "vllm": VllmLike,
    "trtllm-no-evict": TrtLlm,
    "trtllm-max-utilization": TrtLlm,
    "trtllm-static": TrtLlm,
}
CAPACITY = {
    "trtllm-no-evict": "GUARANTEED_NO_EVICT",
    "trtllm-max-utilization": "MAX_UTILIZATION",
    "trtllm-static": "STATIC_BATCH",
}


@dataclass(frozen=True, eq=False)
class Batches:
    """Seconds of a batch of b requests, ``seconds[b]``, and of its parts where they are known."""

    seconds: NDArray[np.float64]
    split: Split | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """One point to simulate; ``words`` say what the times of batches or of steps are."""

    policy: AnyPolicy
    load: AnyLoad | Share
    service: Batches | Work
    words: str
    seeds: int = 10
    slo_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a limit of latency that is none."""
        if self.slo_s is not None and not 0 < self.slo_s < math.inf:
            raise UsageError(f"SLO {self.slo_s!r}: expected finite seconds over 0")

    @property
    def about(self) -> str:
        """Say the service: the times, and the lengths where they are drawn."""
        if not isinstance(self.service, Work) or isinstance(self.load, Replay):
            return self.words
        return f"{self.words}, prompt {self.service.prompt}, new {self.service.new}"


def run(job: Job) -> Point:
    """Simulate a job by the engine of its policy. Raises UsageError where it cannot be."""
    from perfkit.batching import continuous_point, fleet_point, point

    policy, service, load = job.policy, job.service, job.load
    if isinstance(load, Share):
        load = load.of(saturation_per_s(policy, service))
    if isinstance(policy, VllmLike | TrtLlm):
        return continuous_point.point(
            policy, load, _work(service), seeds=job.seeds, slo_s=job.slo_s
        )
    batches = _batches(service)
    if isinstance(policy, Fleet):
        return fleet_point.point(
            policy, load, batches.seconds, split=batches.split, seeds=job.seeds, slo_s=job.slo_s
        )
    return point.point(
        policy, load, batches.seconds, split=batches.split, seeds=job.seeds, slo_s=job.slo_s
    )


def saturation_per_s(policy: AnyPolicy, service: Batches | Work) -> float:
    """Return the requests/s that a policy serves at most, of lengths that the service says."""
    from perfkit.batching import continuous_point, fleet_point, point

    if isinstance(policy, VllmLike | TrtLlm):
        return continuous_point.saturation_per_s(policy, None, _work(service))
    if isinstance(policy, Fleet):
        return fleet_point.saturation_per_s(policy, _batches(service).seconds)
    return point.saturation_per_s(policy, _batches(service).seconds)


def name(policy: AnyPolicy) -> str:
    """Return a policy's kind, as in "dynamic"; of a fleet that of its replicas."""
    if isinstance(policy, TrtLlm):
        return next(kind for kind, capacity in CAPACITY.items() if capacity == policy.capacity)
    known = {OneByOne: "one-by-one", Static: "static", VllmLike: "vllm"}
    return known.get(type(policy), "dynamic")


def most_together(policy: AnyPolicy) -> int:
    """Return how many requests are served together at most, by a server or a replica."""
    match policy:
        case OneByOne():
            return 1
        case Static():
            return policy.batch
        case VllmLike():
            return policy.max_num_seqs
        case TrtLlm():
            return policy.max_batch_size
        case _:
            return policy.max_batch


def _work(service: Batches | Work) -> Work:
    if not isinstance(service, Work):
        raise UsageError("continuous batching needs the time of a step, not that of whole batches")
    return service


def _batches(service: Batches | Work) -> Batches:
    if not isinstance(service, Batches):
        raise UsageError("batches need the time of a whole batch, not that of a step")
    return service
