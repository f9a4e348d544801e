"""Sweeps on a local Ray cluster of two nodes with room for one job each."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UsageError
from perfkit.sweep import on_ray
from perfkit.sweep.driver import Sweep
from perfkit.sweep.on_ray import OnRay
from perfkit.sweep.planning import Request
from perfkit.sweep.transport import Host
from perfkit.sweep.worker import Limits
from tests.sweep.fake_worker import HOST, MATRIX, cells, describe, make, prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
CELLS = 8
LIMITS = Limits(20.0, 3.0)
TWO_GPUS = MATRIX.replace('"cpu"', '"gpu"') + "tp = [1, 2]\n"
NODE = {"num_cpus": 1, "num_gpus": 1, "resources": {"host_slot": 1}}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        for name, value in on_ray._LOOPBACK.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(ROOT))
        made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        made.add_node(**NODE)
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        ray.shutdown()
        made.shutdown()


def sweep(
    folder: Path, deeds: dict[str, str], said: list[str], matrix: str = MATRIX, **changes: Any
) -> Sweep:
    folder.mkdir(exist_ok=True)
    what = prepare(folder, deeds, matrix=matrix, device="gpu" if '"gpu"' in matrix else "cpu")
    journal = folder / "out" / "matrix_results.journal.jsonl"
    transport = OnRay(
        what, journal, LIMITS, said.append, partial(make, folder / "deeds.json"), describe
    )
    request = Request(what, folder / "out", **changes)
    return Sweep(request, transport, said.append, lambda _: None)


def count(folder: Path) -> Counter[str]:
    return Counter(cell["verdict"] for cell in cells(folder).values())


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
def test_both_nodes_measure_through_the_drivers_journal_and_resume_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    assert sweep(tmp_path, {}, said, cases=("b1",)).run() == 0
    assert sweep(tmp_path, {}, said, resume=True).run() == 0
    assert count(tmp_path) == {"ok": CELLS}
    assert said[-1] == f"{CELLS} ok"
    placed = [cell["placed"] for cell in cells(tmp_path).values()]
    assert {place["host"] for place in placed} == {"exclusive"}
    assert {(place["transport"], place["nice"]) for place in placed} == {("ray", 0)}
    assert (tmp_path / "out" / "matrix_results.json").is_file()
    assert (tmp_path / "out" / "matrix_results.csv").is_file()


@pytest.mark.usefixtures("cluster")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("deed", "verdict", "words"),
    [
        ("kill-parent", "crash", "its Ray worker was lost (WorkerCrashedError"),
        ("kill", "crash", "its process ended with signal SIGKILL"),
        ("hang", "timeout", "no cell finished for 3 s"),
    ],
)
def test_a_ray_worker_that_is_lost_costs_one_cell(
    tmp_path: Path, deed: str, verdict: str, words: str
) -> None:
    # The second of its process, so that the shorter limit holds.
    assert sweep(tmp_path, {"bf16/fmha/b2": deed}, [], cases=("bf16",)).run() == 1
    assert count(tmp_path) == {"ok": CELLS // 2 - 1, verdict: 1}
    (lost,) = [cell for cell in cells(tmp_path).values() if cell["verdict"] == verdict]
    assert words in lost["reason"]


@pytest.mark.usefixtures("cluster")
def test_a_request_larger_than_the_cluster_is_refused_at_once(tmp_path: Path) -> None:
    made = sweep(tmp_path, {}, [], TWO_GPUS)
    assert made.run() == 0
    assert count(tmp_path) == {"ok": CELLS, "unsupported": CELLS}
    reasons = {c["reason"] for c in cells(tmp_path).values() if c["verdict"] == "unsupported"}
    (reason,) = reasons
    assert reason.startswith("needs 1 CPU, 2 GPU, 1 host_slot on one node; the cluster has ")
    assert reason.count("1 CPU, 1 GPU, 1 host_slot") == 2


def transport(folder: Path, resources: list[dict[str, float]]) -> OnRay:
    """A transport that has looked at nodes of these resources."""
    made = OnRay(prepare(folder, {}), folder / "j", LIMITS, print, make, describe)
    made._nodes = [{"NodeName": f"n{k}", "Resources": r} for k, r in enumerate(resources)]
    return made


def test_without_a_slot_none_is_asked_for(tmp_path: Path) -> None:
    assert transport(tmp_path, [{"CPU": 4}])._request(1) == {"CPU": 1}
    offered = transport(tmp_path, [{"CPU": 4}, {"CPU": 4, "host_slot": 1}])
    assert offered._request(1) == {"CPU": 1, "host_slot": 1}


def test_thread_counts_are_those_of_the_drivers_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from perfkit.sweep.ray_task import environment
    from perfkit.sweep.transport import Job

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    made = transport(tmp_path, [{"CPU": 4}])
    bare = made._part(Job("g", (), 0, tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray does for its tasks
    assert "OMP_NUM_THREADS" not in environment(bare)
    chosen = made._part(Job("g", (), 0, tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert environment(chosen)["OMP_NUM_THREADS"] == "1"


def nice(device: str) -> Host:
    os.nice(5)
    return describe(device)


def other(device: str) -> Host:
    """Give every process that looks another key, as unlike machines would."""
    return Host(f"{HOST.machine_key}-{device}-{os.getpid()}", None)


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("looks", "words"),
    [(other, "one sweep is of one kind of machine"), (nice, "run at niceness 5")],
)
def test_nodes_that_would_spoil_figures_are_refused(tmp_path: Path, looks: Any, words: str) -> None:
    made = sweep(tmp_path, {}, [])
    made.transport.describe = looks  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=words):
        made.run()


def test_a_task_that_never_began_blames_no_cell(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    from perfkit.sweep.transport import Job

    def lost() -> Iterator[None]:
        raise ray.exceptions.LocalRayletDiedError
        yield

    made = transport(tmp_path, [{"CPU": 4}])
    made._ray = ray
    task = on_ray._Task(Job("g", ("a",), 0, tmp_path))
    with pytest.raises(UsageError, match=r"Ray cannot go on .LocalRayletDiedError.* --resume"):
        made._next(lost(), task)
    task.moved_s = 0.0
    event = made._next(lost(), task)
    assert event is not None
    assert event.ended is not None
    assert "its Ray worker was lost (LocalRayletDiedError" in event.ended.words


def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def refuse(**_: Any) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UsageError, match=r"no Ray cluster answers at RAY_ADDRESS=127\.0\.0\.1:1"):
        on_ray.connect()
