"""Whole cells on two gloo processes, and what becomes of the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from perfkit.cases import Case
from perfkit.machine.guard import marked
from perfkit.measurement.cell import measure
from tests.measurement.fake_backend import fake_lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perfkit.measurement.lab import Lab
    from perfkit.results.record import Result

CASE = Case.parse("torch-eager/llama-tiny/fp32/nofmha/b2/p11/n5/tp2")


def nothing() -> None: ...


def a_rank(number: int) -> int:
    """Return the process that torchrun has told it is this rank."""
    found = [
        child.pid
        for child in psutil.Process().children(recursive=True)
        if child.environ().get("RANK") == str(number)
    ]
    assert len(found) == 1
    return found[0]


def rounds_for(lab: Lab, before: Callable[[], None]) -> Callable[[], Callable[..., None]]:
    def pedantic(target: Any, *, setup: Any, rounds: int) -> None:
        before()
        for _ in range(rounds):
            positional, named = setup()
            lab.clock()
            target(*positional, **named)
            lab.clock()

    return lambda: pedantic


def run(case: Case, before: Callable[[], None] = nothing) -> Result:
    lab = fake_lab()
    return measure(case, lab, rounds_for(lab, before))


@pytest.mark.parametrize(
    ("precision", "attention"),
    [
        pytest.param("fp32", "nofmha", marks=pytest.mark.slow),
        pytest.param("bf16", "fmha", marks=pytest.mark.thorough),
    ],
)
def test_a_whole_cell_is_measured(precision: str, attention: str) -> None:
    before = set(psutil.Process().children(recursive=True))
    # Rounds long enough that handing a call to the ranks, 2 ms, is no clock mismatch.
    result = run(CASE.but(precision=precision, attention=attention, new_tokens=96))
    assert result.verdict in {"ok", "unstable"}, result.reason
    assert result.details["agreement"]["status"] == "agrees"
    assert result.details["metrics"]["peak_allocated_bytes"] is None
    assert result.details["metrics"]["peak_rss_bytes"] > 0
    assert "say nothing about tensor parallelism" in result.details["engine"]["times"]
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.mark.slow
def test_a_rank_that_dies_is_a_crash_and_leaves_nothing() -> None:
    marks = set()

    def shoot() -> None:
        victim = a_rank(1)
        marks.add(f"{NAME}={psutil.Process(victim).environ()[NAME]}")
        os.kill(victim, signal.SIGKILL)

    result = run(CASE, shoot)
    assert result.verdict == "crash"
    assert "rank 1 ended with signal SIGKILL" in str(result.reason)
    (mark,) = marks
    assert marked(mark) == []


NAME = "PERFKIT_STARTED_BY"
ORPHANED = """
import sys, time
from perfkit.backends import torch_eager
from perfkit.cases import Case
from perfkit.inputs import models
case = Case.parse(sys.argv[1])
engine = torch_eager.build(torch_eager.load(case, models.find(case.model), "cpu"), case)
print(engine._process.mark, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_the_ranks_end_with_the_process_that_asked_for_them(tmp_path: Path) -> None:
    asked = [sys.executable, "-c", ORPHANED, CASE.id]
    place = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, env=place) as owner:
        assert owner.stdout is not None
        mark = owner.stdout.readline().strip()
        assert len(marked(mark)) == 3
        owner.kill()
    deadline = time.monotonic() + 10
    while marked(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert marked(mark) == []
