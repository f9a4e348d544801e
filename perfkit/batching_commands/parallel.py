"""Many jobs at once by joblib: processes of this host, or the nodes of a Ray cluster."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from perfkit.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Job = TypeVar("Job")
    Result = TypeVar("Result")

Transport = Literal["local", "ray"]


def finished(
    run: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    processes: int | None = None,
    transport: Transport = "local",
) -> Iterator[tuple[int, Result]]:
    """Yield (place in ``jobs``, result) as each ends, in whatever order.

    ``processes`` at once; None: one here, and on Ray as many as the cluster has CPUs. A single one
    is this process itself. Closing the iterator ends what runs. Raises UsageError for an unknown
    transport, for more processes than a cluster has CPUs, and where joblib or Ray is missing or no
    cluster answers.
    """
    if transport not in get_args(Transport):
        raise UsageError(unknown("transport", transport, get_args(Transport)))
    if processes is not None and processes < 1:
        raise UsageError(f"jobs {processes}: expected 1 or more")
    try:
        import joblib
    except ImportError:
        raise UsageError("a sweep needs joblib: pip install 'perfkit[batching]'") from None
    placed = enumerate(jobs)
    with _workers(joblib, transport, processes):
        parallel = joblib.Parallel(
            return_as="generator_unordered", batch_size=1, pre_dispatch="2*n_jobs"
        )
        results = parallel(joblib.delayed(_placed)(run, place, job) for place, job in placed)
        with contextlib.closing(results):
            yield from results


def _placed(run: Callable[[Job], Result], place: int, job: Job) -> tuple[int, Result]:
    return place, run(job)


def _workers(joblib: Any, transport: Transport, processes: int | None) -> Any:
    if transport == "local":
        return joblib.parallel_config(backend="loky", n_jobs=processes or 1)
    from perfkit.sweep.on_ray import connect

    ray = connect()
    from ray.util.joblib.ray_backend import RayBackend

    class Streaming(RayBackend):
        """Ray's backend of joblib, which calls back with each result; joblib has that turned off
        for pools of multiprocessing, of which Ray's is one by inheritance.
        """  # noqa: D205

        supports_return_generator = True

    joblib.register_parallel_backend("perfkit-ray", Streaming)
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if not 0 < (processes or 1) <= cpus:
        raise UsageError(f"jobs {processes or 1}: the Ray cluster has {cpus} CPUs, one a job")
    return joblib.parallel_config(backend="perfkit-ray", n_jobs=processes or cpus)
