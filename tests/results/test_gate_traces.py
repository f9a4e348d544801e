"""The gate on real runs: data/gate/traces-cpu.jsonl, made by benchmarks/gate_traces.py."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from perfkit.gating.session import against_baseline
from perfkit.results import gate
from perfkit.results.outcome import Asked
from perfkit.results.runs import RunSet
from perfkit.results.store import cells_of

FILE = Path(__file__).resolve().parents[2] / "data" / "gate" / "traces-cpu.jsonl"


@pytest.fixture(scope="module")
def arms() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        block = json.loads(line)
        found.setdefault(block.pop("arm"), []).append({"perfkit": block})
    for runs in found.values():
        runs.sort(key=lambda run: run["perfkit"]["session"]["started"])
    return found


def judged(arms: dict[str, list[dict[str, Any]]], arm: str) -> set[str]:
    """Return the verdicts on runs of an arm, by a baseline of the first fifteen unchanged ones."""
    stored = arms["same"][:15]
    baseline = RunSet(tuple(stored[::3]), tuple(run for k, run in enumerate(stored) if k % 3))
    new = itertools.cycle(arms["same"][15:] if arm == "same" else arms[arm])
    asked = Asked(tuple(cells_of(stored[0])), retries=5)
    found = against_baseline(asked, baseline, lambda _: next(new), lambda _: None)
    return {one.verdict for one in found.judgements}


def test_unchanged_runs_are_not_called_regressed(arms: dict[str, list[dict[str, Any]]]) -> None:
    assert gate.REGRESSED not in judged(arms, "same")


def test_a_tenth_more_work_is_called_regressed(arms: dict[str, list[dict[str, Any]]]) -> None:
    assert gate.REGRESSED in judged(arms, "plus10")


def test_no_amount_of_more_work_is_called_an_improvement(
    arms: dict[str, list[dict[str, Any]]],
) -> None:
    assert gate.IMPROVED not in judged(arms, "plus5") | judged(arms, "plus10")
