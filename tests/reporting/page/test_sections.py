from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.reporting.page.gathering import Found
from perfkit.reporting.page.sections import part_of
from tests.profiling.test_explain import COMPILED, EAGER
from tests.reporting.documents import cell, document

if TYPE_CHECKING:
    from perfkit.reporting.page.blocks import Section


def nothing(*_: Any) -> list[Any]:
    return []


def sections(*documents: dict[str, Any], mark: str | None = None) -> dict[str, Section]:
    found = [Found(Path("run.json"), one) for one in documents]
    return {one.name: one for one in part_of("measured", "", mark, found, nothing).sections}


def test_profiled_cells_have_classes_and_the_way_from_the_plainest_to_the_others() -> None:
    made = sections(document(("b", copy.deepcopy(COMPILED)), ("a", copy.deepcopy(EAGER))))
    classes, steps = made["kernels"].tables
    assert len([row for row in classes.rows if "torch-eager" in row[0]]) == 3
    assert steps.caption == "decode: torch-eager/bf16/fmha to torch-compile/bf16/fmha"
    assert [row[0] for row in steps.rows][1:-1] == ["gemm", "norm", "elementwise", "idle gaps"]
    assert steps.rows[1][1] == "+0.5"
    assert len(made["kernels"].words) == 1


def test_a_waterfall_that_would_explain_nothing_is_refused_in_words() -> None:
    other = copy.deepcopy(COMPILED)
    other["agreement"] = {"status": "diverged"}
    made = sections(document(("a", copy.deepcopy(EAGER)), ("b", other)))
    assert len(made["kernels"].tables) == 1
    assert "were not shown to agree" in made["kernels"].words[1]


def test_profiles_of_two_machines_make_no_waterfall() -> None:
    there = document(("b", copy.deepcopy(COMPILED)), machine={"key": "h100", "name": "H100"})
    made = sections(document(("a", copy.deepcopy(EAGER))), there)
    assert len(made["kernels"].tables) == 1


def test_every_cell_asked_for_has_a_verdict() -> None:
    verdicts = ("ok", "oom", "timeout", "crash", "unsupported", "diverged", "throttled")
    made = sections(document(*(cell(batch=at + 1, verdict=one) for at, one in enumerate(verdicts))))
    table = made["verdicts"].tables[0]
    at = table.headers.index("verdict")
    assert sorted(row[at] for row in table.rows) == sorted(verdicts)
    assert "7 cells" in made["verdicts"].words[0]
    why = table.headers.index("why")
    assert {row[why] for row in table.rows if row[at] == "oom"} == {"oom: made up for a test"}


def test_without_profiles_pairs_or_ceilings_their_sections_are_not_there_or_say_so() -> None:
    made = sections(document(cell(), ceilings=None))
    assert {"kernels", "ablation"} & set(made) == set()
    assert made["roofline"].words[-1] == "No ceilings were measured: no roofline is drawn."


def test_what_nobody_measured_has_no_ablation_and_no_command() -> None:
    plain, fused = cell(attention="nofmha"), cell()
    assert {"ablation", "again"} <= set(sections(document(plain, fused)))
    made = sections(document(plain, fused, synthetic="a script"), mark="SYNTHETIC")
    assert {"ablation", "again"} & set(made) == set()


@pytest.mark.parametrize("runs", [1, 3])
def test_figures_say_whether_an_interval_goes_over_runs(runs: int) -> None:
    documents = []
    for number in range(runs):
        one = document(cell(rate=100.0 + number))
        next(iter(one["perfkit"]["cells"].values()))["session"] = str(number)
        documents.append(one)
    made = sections(*documents)["verdicts"]
    told = made.tables[0].rows[0][made.tables[0].headers.index("output tok/s")]
    # Student's t 4.303, sd of the logs 0.0099, three runs: 2.46 % either way of 101.
    assert told == ("100" if runs == 1 else "101\n98.54 to 103.5")
    assert any("One run of each cell" in words for words in made.words) is (runs == 1)
