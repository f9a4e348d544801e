from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from perfkit.batching_commands.parallel import finished
from perfkit.errors import UsageError


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def refuse(number: int) -> int:
    raise UsageError(f"{number} cannot be")


@pytest.mark.parametrize("processes", [1, 2])
def test_every_job_is_answered_with_its_place(processes: int) -> None:
    found = dict(finished(square, [3, 1, 2], processes=processes))
    assert {place: result for place, (result, _) in found.items()} == {0: 9, 1: 1, 2: 4}
    assert {pid == os.getpid() for _, pid in found.values()} == {processes == 1}


def test_one_process_yields_each_result_before_it_begins_the_next() -> None:
    begun: list[int] = []
    results = finished(begun.append, [0, 1, 2])
    next(results)
    assert begun == [0]
    results.close()  # type: ignore[attr-defined]
    assert begun == [0]


def test_what_goes_wrong_in_a_job_is_raised_here() -> None:
    with pytest.raises(UsageError, match="5 cannot be"):
        list(finished(refuse, [5], processes=2))


def test_an_unknown_transport_or_no_process_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown transport 'pigeon'"):
        list(finished(square, [1], transport="pigeon"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="jobs 0"):
        list(finished(square, [1], processes=0))


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray: pip install 'perfkit\[ray\]'"):
        list(finished(square, [1], transport="ray"))
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(UsageError, match=r"needs joblib: pip install 'perfkit\[batching\]'"):
        list(finished(square, [1]))


@pytest.mark.thorough
def test_ray_gives_the_same_results_from_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    try:
        found = dict(finished(square, list(range(6)), processes=2, transport="ray"))
        with pytest.raises(UsageError, match=r"jobs 9999: the Ray cluster has \d+ CPUs"):
            list(finished(square, [1], processes=9999, transport="ray"))
    finally:
        ray.shutdown()
    assert [found[place][0] for place in range(6)] == [0, 1, 4, 9, 16, 25]
    assert os.getpid() not in {pid for _, pid in found.values()}
