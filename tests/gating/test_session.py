from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perfkit.gating.fresh import InvalidRunError
from perfkit.gating.session import against_baseline, against_version
from perfkit.results import gate
from perfkit.results.outcome import Asked
from perfkit.results.runs import RunSet
from tests.results.runs_made import CELL, run, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OTHER = CELL.replace("b2", "b4")
BASE = RunSet(tuple(stored(5, cells=(CELL, OTHER))), tuple(stored(10, cells=(CELL, OTHER))))
ASKED = Asked((CELL, OTHER), retries=1)


class Machine:
    """Gives out runs one after the other, and remembers which cells were asked for."""

    def __init__(self, *runs: dict[str, Any]) -> None:
        self.runs = list(runs)
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, cells: Sequence[str]) -> dict[str, Any] | None:
        self.asked.append(tuple(cells))
        return self.runs.pop(0) if self.runs else None


def only(cell: str, **how: Any) -> dict[str, Any]:
    """Return a run in which this cell alone is otherwise."""
    made, changed = run(cells=(CELL, OTHER)), run(cells=(cell,), **how)
    made["perfkit"]["cells"] |= changed["perfkit"]["cells"]
    return made


@pytest.fixture
def said() -> list[str]:
    return []


def verdicts(found: Sequence[gate.Judgement]) -> set[tuple[str, str]]:
    return {(one.cell, one.verdict) for one in found}


def test_one_run_is_enough_where_nothing_looks_changed(said: list[str]) -> None:
    machine = Machine(run(cells=(CELL, OTHER)))
    found = against_baseline(ASKED, BASE, machine, said.append)
    assert (found.exit_code, found.runs, found.cell_runs) == (0, 1, 2)
    assert {one.verdict for one in found.judgements} == {gate.SAME}
    assert said == []


def test_suspects_alone_are_measured_again_and_confirmed(said: list[str]) -> None:
    slow = only(OTHER, e2e_s=(0.36, 0.37), ttft_s=0.12)
    machine = Machine(slow, *[slow] * 5)
    found = against_baseline(ASKED, BASE, machine, said.append)
    assert machine.asked == [(CELL, OTHER), *[(OTHER,)] * 5]
    assert (found.exit_code, found.runs, found.cell_runs) == (1, 6, 7)
    assert verdicts(found.judgements) == {(CELL, gate.SAME), (OTHER, gate.REGRESSED)}
    assert said == ["3 figures of 1 cells look changed: 5 runs confirm"]


def test_a_bad_moment_is_no_regression(said: list[str]) -> None:
    machine = Machine(only(OTHER, e2e_s=(0.36, 0.37), ttft_s=0.12), *stored(5, cells=(OTHER,)))
    assert against_baseline(ASKED, BASE, machine, said.append).exit_code == 0


def test_a_run_on_a_machine_that_drifted_is_made_again(said: list[str]) -> None:
    machine = Machine(run(cells=(CELL, OTHER), canary=(0.01, 0.02)), run(cells=(CELL, OTHER)))
    found = against_baseline(ASKED, BASE, machine, said.append)
    assert (found.exit_code, found.runs, found.problems) == (0, 2, ())
    assert said[0].startswith("run 1 is not to be compared: the gemm canary took 20.00 ms after")


def test_a_machine_that_keeps_drifting_is_invalid_not_wrong(said: list[str]) -> None:
    drifting = run(cells=(CELL, OTHER), canary=(0.02, 0.02), e2e_s=(0.6, 0.6))
    found = against_baseline(ASKED, BASE, Machine(drifting, drifting), said.append)
    assert found.exit_code == 3
    assert {one.verdict for one in found.judgements} == {gate.INVALID}
    assert "the gemm canary took 20.00 ms before the cells" in found.problems[0]


def test_drift_while_confirming_is_invalid_too(said: list[str]) -> None:
    slow = only(OTHER, e2e_s=(0.36, 0.37))
    drifting = run(cells=(OTHER,), canary=(0.02, 0.02))
    found = against_baseline(ASKED, BASE, Machine(slow, drifting, drifting), said.append)
    assert found.exit_code == 3


def test_without_runs_to_confirm_a_suspect_is_inconclusive(said: list[str]) -> None:
    machine = Machine(only(OTHER, e2e_s=(0.36, 0.37)))
    assert against_baseline(ASKED, BASE, machine, said.append).exit_code == 4


def test_a_run_that_died_is_made_again_and_then_invalid(said: list[str]) -> None:
    def dies(_: Sequence[str]) -> None:
        raise InvalidRunError(["a run ended with -11"])

    found = against_baseline(ASKED, BASE, dies, said.append)
    assert (found.exit_code, found.runs, found.problems) == (3, 2, ("a run ended with -11",))


def test_one_confirming_run_is_too_few_and_no_crash(said: list[str]) -> None:
    slow = only(OTHER, e2e_s=(0.36, 0.37), ttft_s=0.12)
    found = against_baseline(ASKED, BASE, Machine(slow, slow), said.append)
    assert found.exit_code == 4
    changed = [one for one in found.judgements if one.p is not None]
    assert all(one.interval is None for one in changed)
    assert "too few runs confirm: a change of" in str(changed[0].reason)


def test_nothing_compared_is_never_green(said: list[str]) -> None:
    cells = {"cells": (CELL, OTHER), "verdict": "unsupported"}
    base = RunSet(tuple(stored(5, **cells)), tuple(stored(10, **cells)))
    assert against_baseline(ASKED, base, Machine(run(**cells)), said.append).exit_code == 3


def test_no_run_at_all_is_invalid(said: list[str]) -> None:
    found = against_baseline(ASKED, BASE, Machine(), said.append)
    assert (found.exit_code, found.problems) == (3, ("no run was made",))


def both(old: float, new: float) -> tuple[Machine, Machine]:
    """Two versions, twenty runs each of these seconds a round."""
    made = (
        Machine(*[run(cells=(CELL, OTHER), e2e_s=(s, s), ttft_s=s / 3)] * 20) for s in (old, new)
    )
    one, other = made
    return one, other


def test_equal_versions_take_three_pairs(said: list[str]) -> None:
    old, new = both(0.3, 0.3)
    found = against_version(ASKED, old, new, 0, said.append)
    assert (found.exit_code, found.runs, len(old.asked), len(new.asked)) == (0, 6, 3, 3)


def test_a_slower_version_is_confirmed_by_more_pairs(said: list[str]) -> None:
    old, new = both(0.3, 0.32)
    found = against_version(ASKED, old, new, 0, said.append)
    assert found.exit_code == 1
    assert said == ["6 figures of 2 cells look changed: 8 pairs of runs confirm"]
    assert len(old.asked) == len(new.asked) == 11


def test_a_run_of_a_pair_that_waited_for_a_cpu_is_made_again(said: list[str]) -> None:
    old, new = both(0.3, 0.3)
    busy = run(cells=(CELL, OTHER), e2e_s=(0.9, 0.9))
    for cell in busy["perfkit"]["cells"].values():
        cell["telemetry"] = {"cpu_wait_share": 0.4}
    new.runs.insert(0, busy)
    found = against_version(ASKED, old, new, 0, said.append)
    assert (found.exit_code, len(old.asked), len(new.asked)) == (0, 3, 4)


def test_which_of_a_pair_runs_first_is_drawn() -> None:
    order: list[str] = []

    def side(name: str) -> Callable[[Sequence[str]], dict[str, Any]]:
        def measure(_: Sequence[str]) -> dict[str, Any]:
            order.append(name)
            return run()

        return measure

    for seed in range(4):
        against_version(Asked((CELL,)), side("old"), side("new"), seed, lambda _: None)
    firsts = order[::2]
    assert {"old", "new"} == set(firsts)
    assert all({a, b} == {"old", "new"} for a, b in zip(order[::2], order[1::2], strict=True))
