from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from perfkit.reporting.pooled import REFERENCE, groups, rows
from tests.reporting.documents import cell, document


def run(rate: float, measured_in: str = "a", *, key: str = "h200", **more: Any) -> dict[str, Any]:
    made = document(
        cell(attention="nofmha", rate=100.0),
        cell(attention="fmha", rate=rate),
        machine={"key": key, "name": key.upper(), "fields": {}},
        **more,
    )
    for body in made["perfkit"]["cells"].values():
        body["session"] = measured_in
    return made


def fused(made: list[Any]) -> Any:
    return next(row for row in made if "/fmha/" in row.cell)


def test_runs_of_one_kind_give_a_median_and_an_interval() -> None:
    made = rows([run(140.0, "a"), run(150.0, "b"), run(145.0, "c")])
    assert [row.runs for row in made] == [3, 3]
    row = fused(made)
    assert row.effect.value == pytest.approx(0.45)
    # Student's t of 2 degrees of freedom at 97.5 % is 4.303; sd of the logs of 1.40, 1.50, 1.45.
    logs = [math.log(x) for x in (1.40, 1.50, 1.45)]
    mean = sum(logs) / 3
    half = 4.302653 * math.sqrt(sum((x - mean) ** 2 for x in logs) / 2) / math.sqrt(3)
    assert row.effect.interval == pytest.approx(
        (math.exp(mean - half) - 1, math.exp(mean + half) - 1)
    )
    figure = row.figures["output_tokens_per_s"]
    assert figure.value == 145.0
    assert figure.interval == pytest.approx(
        (100 * math.exp(mean - half), 100 * math.exp(mean + half))
    )


def test_a_copy_of_a_file_is_no_second_run() -> None:
    row = fused(rows([run(140.0, "a"), copy.deepcopy(run(140.0, "a"))]))
    assert (row.runs, row.effect.interval) == (1, None)


def test_machines_commits_and_settings_are_never_put_together() -> None:
    other = run(150.0, "c")
    other["commit_info"] = {"id": "def456", "dirty": True}
    longer = run(150.0, "d", session={"id": "d", "rounds": 9, "max_warmup": 3})
    made = groups([run(140.0, "a"), run(141.0, "b", key="h100"), other, longer])
    assert [(group.key, group.commit.split()[0], len(group.runs)) for group in made] == [
        ("h200", "abc123", 1), ("h100", "abc123", 1), ("h200", "def456+", 1), ("h200", "abc123", 1)
    ]  # fmt: skip


def test_groups_that_share_a_name_or_a_commit_are_told_apart() -> None:
    twin = run(140.0, "b", key="other")
    twin["perfkit"]["machine"]["name"] = "H200"
    longer = run(140.0, "c", session={"rounds": 7, "max_warmup": 2})
    made = groups([run(140.0, "a"), twin, longer])
    assert len({(group.machine, group.commit) for group in made}) == 3
    assert {group.machine for group in made} == {"H200 (h200)", "H200 (other)"}
    assert any(group.commit.endswith("(rounds 7, max warmup 2)") for group in made)


def test_the_largest_effect_comes_first_whatever_its_sign_and_what_has_none_last() -> None:
    made = document(
        cell(attention="nofmha", rate=100.0),
        cell(attention="fmha", rate=110.0),
        cell("torch-compile", rate=50.0),
        cell("torch-compile", attention="nofmha", verdict="oom"),
    )
    assert [(row.cell.split("/")[0], row.no_effect) for row in rows([made])] == [
        ("torch-compile", ""), ("torch-eager", ""), ("torch-eager", REFERENCE),
        ("torch-compile", "no figures"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"verdict": "throttled"}, "throttled"),
        ({"agreement": {"status": "unchecked"}}, "outputs not shown to agree"),
        ({"session": "another"}, "the reference is of another session"),
    ],
)
def test_where_there_is_no_effect_it_says_why(change: dict[str, Any], why: str) -> None:
    made = run(140.0)
    next(c for name, c in made["perfkit"]["cells"].items() if "/fmha/" in name).update(change)
    row = fused(rows([made]))
    assert (row.effect, row.no_effect) == (None, why)


def test_a_synthetic_file_has_no_effect() -> None:
    assert fused(rows([run(140.0, synthetic="a script")])).no_effect == "synthetic"


def test_runs_that_are_not_ok_lend_no_figures_where_another_is() -> None:
    bad = run(900.0, "b")
    for body in bad["perfkit"]["cells"].values():
        body["verdict"] = "unstable"
    row = fused(rows([run(140.0, "a"), bad]))
    assert (row.verdict, row.runs) == ("1 x ok, 1 x unstable", 1)
    assert row.figures["output_tokens_per_s"].value == 140.0
