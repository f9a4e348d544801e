from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.reporting.page.gathering import gather
from tests.reporting.documents import cell, document, small

if TYPE_CHECKING:
    from pathlib import Path


def put(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def test_good_files_are_kept_beside_bad_ones_and_each_bad_one_is_named(tmp_path: Path) -> None:
    put(tmp_path, "good.json", small())
    put(tmp_path, "half.json", json.dumps(small())[:900])
    put(tmp_path, "newer.json", document(schema=2))
    put(tmp_path, "plain.json", {"benchmarks": [], "version": "5.3.1"})
    put(tmp_path, "other.json", {"rule": {}})
    put(tmp_path, "deep.json", "[" * 100_000)
    found = gather([tmp_path, tmp_path / "none.json"])
    assert [one.path.name for one in found.results] == ["good.json"]
    told = "\n".join(found.problems)
    for words in (
        "half.json is not JSON", "newer.json has schema 2, expected 1",
        "plain.json holds pytest-benchmark entries alone", "other.json was not written by perfkit",
        "deep.json is not JSON", "cannot read",
    ):  # fmt: skip
        assert words in told
    assert len(found.problems) == 6


def test_a_folder_without_results_is_named(tmp_path: Path) -> None:
    put(tmp_path, ".hidden/run.json", small())
    found = gather([tmp_path])
    assert found.results == ()
    assert found.problems == (
        f"{tmp_path} holds no .json file: give result files of perfkit run, or a folder",
    )


def test_a_file_given_twice_is_read_once(tmp_path: Path) -> None:
    path = put(tmp_path, "good.json", small())
    assert len(gather([path, tmp_path, path]).results) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"case": {"backend": "torch-eager"}},
        {"case": None},
        {"verdict": "fine"},
        {"metrics": {"ttft_s": "fast"}},
        {"metrics": {"ttft_s": float("nan")}},
        {"metrics": {"ttft_s": True}},
        {"samples": {"ttft_s": [None]}},
        {"samples": {"itl_s": [[0.1, "x"]]}},
        {"quantiles": {"ttft_s": 3}},
        {"memory": {"forecast": {"total_bytes": []}}},
        {"telemetry": {"sm_clock_mhz": [None, "x"]}},
        {"telemetry": {"sm_clock_mhz": 1980}},
        {"samples": {"e2e_s": [[]]}},
        {"telemetry": {"power_w": [None]}},
        {"attention": {"prefill": "flash"}},
        {"attention": {"decode": {"class": [[]]}}},
        {"attention": {"decode": {"attention_kernels": [None]}}},
        {"session": ["a"]},
    ],
)
def test_a_damaged_cell_is_named_and_left_out(tmp_path: Path, change: dict[str, Any]) -> None:
    bad, good = cell(batch=1), cell(batch=8)
    bad[1].update(change)
    path = put(tmp_path, "run.json", document(bad, good))
    found = gather([path])
    assert [list(one.document["perfkit"]["cells"]) for one in found.results or ()] in (
        [[good[0]]], [],
    )  # fmt: skip
    assert len(found.problems) == 1
    assert f"{path} is damaged" in found.problems[0]
    assert bad[0] in found.problems[0]


def test_a_list_that_a_session_keeps_must_be_one(tmp_path: Path) -> None:
    found = gather([put(tmp_path, "run.json", document(cell(), session={"matrices": 3.5}))])
    assert found.results == ()
    assert "matrices of its session is no list" in found.problems[0]


@pytest.mark.parametrize("part", ["session", "machine", "ceilings"])
def test_what_a_whole_file_says_of_itself_must_be_readable(tmp_path: Path, part: str) -> None:
    found = gather([put(tmp_path, "run.json", document(cell(), **{part: ["x"]}))])
    assert found.results == ()
    assert f"its {part} is no object" in found.problems[0]


def test_a_gate_is_read_back(tmp_path: Path) -> None:
    told = {"cell": "a", "metric": "ttft_s", "verdict": "REGRESSED", "change": 0.07,
            "interval": [0.05, 0.09], "runs": [10, 5], "p": 0.001}  # fmt: skip
    path = put(tmp_path, "gate.json", {"judgements": [told], "problems": ["busy"]})
    (gate,) = gather([path]).gates
    assert gate.judgements[0].interval == (0.05, 0.09)
    assert gate.problems == ("busy",)
    bad = put(tmp_path, "bad.json", {"judgements": [{"cell": "a", "change": "x"}]})
    assert "bad.json is damaged" in gather([bad]).problems[0]


@pytest.mark.parametrize(
    "change", [{"cell": None}, {"metric": ["x"]}, {"runs": [10]}, {"change": 10**400}]
)
def test_a_gate_that_cannot_be_is_named_and_the_rest_is_shown(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    told = {"cell": "a", "metric": "ttft_s", "verdict": "SAME", "change": 0.0, "interval": None,
            "runs": [10, 5], "p": None, **change}  # fmt: skip
    put(tmp_path, "gate.json", {"judgements": [told]})
    put(tmp_path, "newer.json", {"judgements": [], "schema": 77})
    put(tmp_path, "good.json", small())
    found = gather([tmp_path])
    assert (len(found.results), found.gates) == (1, ())
    assert "gate.json is damaged" in found.problems[0]
    assert "newer.json has schema 77" in found.problems[1]


def test_a_profile_that_cannot_be_costs_its_cell_alone(tmp_path: Path) -> None:
    name, body = cell()
    phase = {"window_s": 1.0, "busy_s": {}, "classes": {}}
    path = put(tmp_path, "p.json", document((name, {**body, "profile": {"phases": {"a": phase}}})))
    found = gather([path])
    assert f"its cell {name} cannot be read" in found.problems[0]
