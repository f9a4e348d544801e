"""The transport of many hosts: each job is a Ray task, on a cluster there is or a local one."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError, first_line
from perfkit.suite import command
from perfkit.sweep import ray_task
from perfkit.sweep.local import host as look_at_host
from perfkit.sweep.transport import Event, Host, Job
from perfkit.sweep.worker import Ended, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from perfkit.plan import PlannedCell
    from perfkit.results.store import Document
    from perfkit.suite import Measuring

SLOT = "host_slot"
_LOOK_EVERY_S = 1.0
_MARGIN_S = 60.0  # the worker's own limits come first; this one is for a node that is gone
_PROBE_S = 120.0
_CLEAR_UP_S = 1.5
# Ray's switch for loopback addresses alone, which it turns on by itself on other systems.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}


def connect() -> Any:
    """Return ray, joined to the cluster that is there, else to a local one on 127.0.0.1.

    Raises UsageError where ray is not installed or the cluster does not answer.
    """
    for name, value in _LOOPBACK.items():
        os.environ.setdefault(name, value)
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise UsageError(
            "--transport ray needs Ray: pip install 'perfkit[ray]', on every node"
        ) from None
    if ray.is_initialized():
        return ray
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address="auto", **quiet)
    except ConnectionError as error:
        if os.environ.get("RAY_ADDRESS"):
            where = os.environ["RAY_ADDRESS"]
            raise UsageError(f"no Ray cluster answers at RAY_ADDRESS={where}: {error}") from None
        ray.init(address="local", include_dashboard=False, resources={SLOT: 1}, **quiet)
    return ray


@dataclass
class _Task:
    """A job under way: ``moved_s`` is None until it has begun."""

    job: Job
    moved_s: float | None = None
    began: bool = False


@dataclass
class OnRay:
    """Measures on the nodes of a Ray cluster, as many jobs at once as it has room for.

    Each job asks for one CPU, its GPUs on one node, and a ``host_slot`` where the cluster offers
    any; without one its cells are recorded as measured on a shared host.
    """

    what: Measuring
    journal: Path
    limits: Limits
    say: Callable[[str], None]
    make: Callable[..., list[str]] = command
    describe: Callable[[str], Host] = look_at_host
    _ray: Any = None
    _nodes: list[dict[str, Any]] = field(default_factory=list)
    _seen: dict[str, ray_task.Seen] = field(default_factory=dict)
    _queue: list[Job] = field(default_factory=list)

    def host(self) -> Host:
        """Join the cluster and look at each node that could take a cell; see Transport."""
        self._ray = connect()
        self._nodes = [node for node in self._ray.nodes() if node["Alive"]]
        fit = [node for node in self._nodes if _covers(node["Resources"], self._request(1))]
        if not fit:
            raise UsageError(f"no node takes a cell on the {self.what.device}: {self._has()}")
        self._seen = {node["NodeID"]: self._look(node["NodeID"]) for node in fit}
        for seen in self._seen.values():
            if seen.nice != 0:
                raise UsageError(
                    f"Ray's workers on {seen.node} run at niceness {seen.nice}, which no bare host "
                    "does: start the cluster with RAY_worker_niceness=0 in its environment"
                )
        keys = {seen.host.machine_key: seen.node for seen in self._seen.values()}
        if len(keys) > 1:
            told = "; ".join(f"{node} is {key}" for key, node in keys.items())
            raise UsageError(f"one sweep is of one kind of machine, the cluster has more: {told}")
        first = next(iter(self._seen.values())).host
        slot = f"a {SLOT} each" if self._slot else f"no {SLOT}: cells are recorded as shared"
        return Host(first.machine_key, first.memory_bytes, f"Ray: {self._has()}; {slot}")

    def refuses(self, cell: PlannedCell) -> str | None:
        """Hold a cell against every node as a whole; see Transport."""
        asked = self._request(cell.case.tp)
        if any(_covers(node["Resources"], asked) for node in self._nodes):
            return None
        return f"needs {_told(asked)} on one node; the cluster has {self._has()}"

    def submit(self, job: Job) -> None:
        """Queue a job; see Transport."""
        self._queue.append(job)

    def events(self) -> Generator[Event, None, None]:
        """Hand every job to Ray and tell what comes back; see Transport."""
        running: dict[Any, _Task] = {}
        try:
            while self._queue or running:
                while self._queue:
                    job = self._queue.pop(0)
                    running[self._start(job)] = _Task(job)
                ready, _ = self._ray.wait(
                    list(running), num_returns=1, timeout=_LOOK_EVERY_S, fetch_local=False
                )
                for stream in ready:
                    event = self._next(stream, running[stream])
                    if event is not None and event.ended is not None:
                        # Not cancelled: Ray aborts a driver whose task ends by itself meanwhile.
                        del running[stream]
                    if event is not None:
                        yield event
                for stream in [s for s, task in running.items() if self._overdue(task)]:
                    job = running.pop(stream).job
                    self._cancel(stream, force=True)
                    yield Event(job, ended=Ended(-9, stood_still=True))
        finally:
            self._end_all(running)

    def assembled(self, ids: Sequence[str]) -> Document:
        """Let a node put all cells into one file; see Transport."""
        part = self._part(Job("results", tuple(ids), 0, self.journal))
        node = next(iter(self._seen))
        task = self._remote(ray_task.assemble, node=node)
        try:
            found: Document | str = self._ray.get(task.remote(part, self.journal.read_bytes()))
        except self._ray.exceptions.RayError as error:
            raise UsageError(self._gone(error)) from None
        if isinstance(found, str):
            raise UsageError(found)
        return found

    @property
    def _slot(self) -> bool:
        return any(SLOT in node["Resources"] for node in self._nodes)

    def _request(self, gpus: int) -> dict[str, float]:
        asked: dict[str, float] = {"CPU": 1}
        if self.what.device == "gpu":
            asked["GPU"] = gpus
        return asked | ({SLOT: 1} if self._slot else {})

    def _has(self) -> str:
        return "; ".join(f"{node['NodeName']}: {_told(node['Resources'])}" for node in self._nodes)

    def _remote(self, what: Callable[..., Any], node: str | None = None, **options: Any) -> Any:
        if node is not None:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node, soft=False)
        options = {"num_cpus": 0, "max_retries": 0} | options
        return self._ray.remote(**options)(what)

    def _look(self, node: str) -> ray_task.Seen:
        task = self._remote(ray_task.look, node=node)
        try:
            seen: ray_task.Seen = self._ray.get(
                task.remote(self.what.device, self.describe), timeout=_PROBE_S
            )
        except self._ray.exceptions.RayError as error:
            raise UsageError(f"node {node[:8]} does not answer: {first_line(error)}") from None
        return seen

    def _part(self, job: Job) -> ray_task.Part:
        threads = {name: os.environ[name] for name in ray_task.THREADS if name in os.environ}
        return ray_task.Part(
            self.what, job.name, job.ids, job.gpus, self.limits, self.make,
            ray_task.packed(self.what), threads, exclusive=self._slot,
        )  # fmt: skip

    def _start(self, job: Job) -> Any:
        asked = self._request(max(job.gpus, 1))
        task = self._remote(
            ray_task.measure, num_returns="streaming", max_calls=1, num_cpus=1,
            num_gpus=asked.get("GPU", 0), resources={SLOT: 1} if self._slot else {},
        )  # fmt: skip
        return task.remote(self._part(job))

    def _next(self, stream: Any, task: _Task) -> Event | None:
        """Take the next message of a task; its loss is its end."""
        try:
            message: ray_task.Message = self._ray.get(next(stream))
        except StopIteration:
            return Event(task.job, ended=Ended(0, lost="its Ray task ended early"))
        except self._ray.exceptions.RayError as error:
            if task.moved_s is None:  # no cell of it has been tried, so none is to blame
                raise UsageError(self._gone(error)) from None
            lost = f"its Ray worker was lost ({type(error).__name__}: {first_line(error)})"
            return Event(task.job, ended=Ended(-9, lost=lost))
        task.moved_s, task.began = time.monotonic(), task.began or bool(message.lines)
        if message.said:
            self.say(message.said)
        if message.lines or message.ended is not None:
            return Event(task.job, message.lines, message.ended)
        return None

    def _overdue(self, task: _Task) -> bool:
        limit_s = self.limits.next_s if task.began else self.limits.first_s
        return task.moved_s is not None and time.monotonic() - task.moved_s > limit_s + _MARGIN_S

    def _end_all(self, running: dict[Any, _Task]) -> None:
        """Let tasks end their processes and remove their folders; then end what is left."""
        for stream in running:
            self._cancel(stream, force=False)
        time.sleep(_CLEAR_UP_S if running else 0.0)
        for stream in running:
            self._cancel(stream, force=True)

    def _cancel(self, stream: Any, *, force: bool) -> None:
        with contextlib.suppress(Exception):  # a cluster that is gone has nothing to cancel
            self._ray.cancel(stream, force=force)

    def _gone(self, error: BaseException) -> str:
        return (
            f"Ray cannot go on ({type(error).__name__}: {first_line(error)}); finished cells are "
            f"kept in {self.journal}: mend the cluster, then go on with --resume"
        )


def _covers(there: Mapping[str, float], asked: Mapping[str, float]) -> bool:
    return all(there.get(name, 0) >= amount for name, amount in asked.items())


def _told(resources: Mapping[str, float]) -> str:
    """As in "2 CPU, 1 GPU, 1 host_slot"."""
    kept = ((name, resources.get(name, 0)) for name in ("CPU", "GPU", SLOT))
    return ", ".join(f"{amount:g} {name}" for name, amount in kept if amount or name == "GPU")
