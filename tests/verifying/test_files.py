from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UsageError
from perfkit.verifying.files import verify
from perfkit.verifying.findings import Findings, same, unit_note
from tests.here import perfkit

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[2] / "baselines"
H100 = ROOT / "nvidia-h100-80gb-hbm3_driver-580.159.04_cuda-13.0_torch-2.11.0"
H200 = ROOT / "nvidia-h200_driver-580.159.04_cuda-13.0_torch-2.11.0/Linux-CPython-3.12-64bit"
RUN = json.loads((H100 / "ablation-gpu/0001_run.json").read_text(encoding="utf-8"))
CELL = "torch-eager/llama2-7b/bf16/fmha/b8/p512/n16/tp1"


def changed(folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Findings:
    """Return what is found after a change of the run's cell and its entry."""
    made = copy.deepcopy(RUN)
    (entry,) = [one for one in made["benchmarks"] if one["param"] == CELL]
    change(made["perfkit"]["cells"][CELL], entry)
    path = folder / "run.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    return verify(path)[1]


def wrong(found: Findings) -> set[str]:
    assert {one.cell for one in found.mismatches} <= {CELL}
    return {one.figure for one in found.mismatches}


def test_a_run_that_was_measured_matches() -> None:
    _, found = verify(H100 / "ablation-gpu/0001_run.json")
    assert found.mismatches == []
    assert found.compared == 972
    assert found.skipped == {}


def test_every_committed_file_matches() -> None:
    paths = [path for path in ROOT.rglob("*.json") if "candidate" not in str(path)]
    assert len(paths) > 30
    for path in paths:
        _, found = verify(path)
        assert found.mismatches == [], path


def test_a_changed_median_is_caught(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], entry: dict[str, Any]) -> None:
        cell["metrics"]["tpot_s"] *= 1.0001
        entry["stats"]["median"] *= 0.99

    found = changed(tmp_path, change)
    assert wrong(found) == {"tpot_s", "stats.median"}
    (one,) = [one for one in found.mismatches if one.figure == "tpot_s"]
    assert one.stored == pytest.approx(one.recomputed * 1.0001)


def test_a_dropped_round_is_caught_by_the_rounds_of_its_entry(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        for values in cell["samples"].values():
            values.pop()

    assert {"stats.data: rounds"} < wrong(changed(tmp_path, change))


def test_a_round_dropped_everywhere_is_caught_by_the_session(tmp_path: Path) -> None:
    name = "torch-eager/llama2-7b/bf16/nofmha/b8/p512/n16/tp1"
    made = copy.deepcopy(RUN)
    session = made["perfkit"]["session"]
    session["rounds"] = 3
    cell = made["perfkit"]["cells"][name]
    for values in cell["samples"].values():
        values.pop()
    (entry,) = [one for one in made["benchmarks"] if one["param"] == name]
    entry["stats"]["data"].pop()
    entry["stats"]["rounds"] = 2
    path = tmp_path / "run.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    found = {one.figure: (one.stored, one.recomputed) for one in verify(path)[1].mismatches}
    assert found["samples.ttft_s: rounds"] == (2, 3)


def test_a_dropped_step_is_caught(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        del cell["samples"]["itl_s"][0][3]

    found = changed(tmp_path, change)
    assert {"samples.itl_s[0]: steps", "samples.e2e_s[0]"} <= wrong(found)


def test_a_wrong_unit_is_caught_and_named(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        cell["metrics"]["ttft_s"] *= 1e3

    notes = {one.figure: one.note for one in changed(tmp_path, change).mismatches}
    assert notes["ttft_s"] == "1,000 times: ms for s?"


def test_a_wrong_unit_in_all_samples_alike_is_caught_by_the_clocks(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        samples, metrics = cell["samples"], cell["metrics"]
        for key in ("ttft_s", "e2e_s"):
            samples[key] = [1e3 * x for x in samples[key]]
            metrics[key] *= 1e3
        samples["itl_s"] = [[1e3 * x for x in steps] for steps in samples["itl_s"]]

    assert {"samples.device_s: total", "samples.host_e2e_s: total", "mfu", "mbu"} <= wrong(
        changed(tmp_path, change)
    )


def test_a_figure_of_another_name_is_caught(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        cell["metrics"]["ttft_ms"] = 1e3 * cell["metrics"].pop("ttft_s")

    assert wrong(changed(tmp_path, change)) == {"ttft_ms", "ttft_s"}


@pytest.mark.parametrize("figure", ["mfu", "mbu", "output_tokens_per_s", "e2e_s"])
def test_every_figure_is_held_against_its_samples(tmp_path: Path, figure: str) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        cell["metrics"][figure] *= 1.01

    assert figure in wrong(changed(tmp_path, change))


def test_the_headline_of_an_entry_is_held_against_the_samples_too(tmp_path: Path) -> None:
    def change(_: dict[str, Any], entry: dict[str, Any]) -> None:
        entry["extra_info"]["mbu"] *= 2

    assert wrong(changed(tmp_path, change)) == {"extra_info.mbu"}


def test_a_flattered_verdict_is_caught(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], entry: dict[str, Any]) -> None:
        cell["verdict"] = entry["extra_info"]["verdict"] = "throttled"

    assert wrong(changed(tmp_path, change)) == {"verdict"}


def test_a_changed_quantile_and_a_null_where_there_is_one_are_caught(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        cell["quantiles"]["itl_s"]["p90"] = None
        cell["quantiles"]["ttft_s"]["p50"] *= 1.01

    assert wrong(changed(tmp_path, change)) == {"quantiles.itl_s.p90", "quantiles.ttft_s.p50"}


def test_samples_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        cell["samples"]["ttft_s"][0] = "fast"

    assert "samples" in wrong(changed(tmp_path, change))


def test_a_cell_without_samples_is_not_called_right(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        cell["samples"] = {}

    assert changed(tmp_path, change).skipped == {CELL: "it has no samples"}


def test_samples_of_one_name_that_are_gone_are_dropped_samples(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        del cell["samples"]["ttft_s"]

    assert "samples.ttft_s: rounds" in wrong(changed(tmp_path, change))


def test_a_quantile_that_nobody_computes_is_caught(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        cell["quantiles"]["ttft_s"]["p99.9"] = 1.0
        cell["quantiles"]["foo_s"] = {}

    assert wrong(changed(tmp_path, change)) == {"quantiles.ttft_s", "quantiles.foo_s"}


def test_an_entry_without_its_cell_and_one_that_stands_twice_are_caught(tmp_path: Path) -> None:
    made = copy.deepcopy(RUN)
    del made["perfkit"]["cells"][CELL]
    made["benchmarks"].append(made["benchmarks"][0])
    path = tmp_path / "run.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    found = {(one.cell, one.figure) for one in verify(path)[1].mismatches}
    assert (CELL, "cell") in found
    assert (made["benchmarks"][0]["param"], "entries in benchmarks") in found


def test_a_number_that_no_float_holds_is_a_difference(tmp_path: Path) -> None:
    def change(cell: dict[str, Any], _: dict[str, Any]) -> None:
        cell["metrics"]["ttft_s"] = 10**400

    assert "ttft_s" in wrong(changed(tmp_path, change))


@pytest.mark.parametrize(
    ("change", "figure"),
    [
        ({"median_s": None}, "median_s"),
        ({"share_of_ceiling": None}, "share_of_ceiling"),
        ({"verdict": "diverged"}, "figures"),
    ],
)
def test_what_an_attention_cell_lost_is_caught(
    tmp_path: Path, change: dict[str, Any], figure: str
) -> None:
    made = json.loads((H200 / "0005_attention-decode.json").read_text(encoding="utf-8"))
    cells = made["perfkit_attention"]["cells"]
    name = next(name for name, cell in cells.items() if cell["median_s"])
    cells[name] |= change
    path = tmp_path / "run.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    assert (name, figure) in {(one.cell, one.figure) for one in verify(path)[1].mismatches}


def test_an_attention_file_is_held_against_its_entries(tmp_path: Path) -> None:
    made = json.loads((H200 / "0005_attention-decode.json").read_text(encoding="utf-8"))
    cells = made["perfkit_attention"]["cells"]
    name = next(name for name, cell in cells.items() if cell["median_s"])
    cells[name]["kv_bytes_per_s"] *= 1.1
    path = tmp_path / "run.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    found = verify(path)[1]
    assert [(one.cell, one.figure) for one in found.mismatches] == [(name, "kv_bytes_per_s")]


def test_the_high_fence_of_an_old_pytest_benchmark_is_told_not_refused() -> None:
    # Its version 5.2.3 took the lowest datum above the fence; 5.3.1 takes the highest within it.
    _, found = verify(H200 / "0002_harness.json")
    assert found.mismatches == []
    assert all("before 5.3.1" in note for note in found.notes)


def test_a_file_without_figures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text('{"perfkit": {"schema": 1, "cells": {}}}', encoding="utf-8")
    with pytest.raises(UsageError, match=r"run\.json holds no figures to verify"):
        verify(path)


def test_rounding_is_no_difference_and_kinds_are() -> None:
    assert same(0.1 + 0.2, 0.3)
    assert not same(0.3, 0.3000001)
    assert not same(1, True)
    assert not same(None, 0.0)
    assert same(None, None)
    assert unit_note(2e-3, 2.0) == "a thousandth: s for ms?"
    assert unit_note(2.0, 3.0) == ""
    assert not same(math.nan, 0.1)


def test_the_command_names_file_cell_figure_and_both_values(tmp_path: Path) -> None:
    made = copy.deepcopy(RUN)
    made["perfkit"]["cells"][CELL]["metrics"]["e2e_s"] *= 1e3
    (tmp_path / "bad.json").write_text(json.dumps(made), encoding="utf-8")
    (tmp_path / "good.json").write_text(json.dumps(RUN), encoding="utf-8")
    done = perfkit(tmp_path, "verify", "good.json", "bad.json")
    assert done.returncode == 1
    e2e = RUN["perfkit"]["cells"][CELL]["metrics"]["e2e_s"]
    assert "good.json: 972 figures recomputed, all match" in done.stdout
    assert (
        f"bad.json: {CELL}: e2e_s: stored {1e3 * e2e:.12g}, recomputed {e2e:.12g} "
        "(1,000 times: ms for s?)"
    ) in done.stdout
    assert perfkit(tmp_path, "verify", "good.json").returncode == 0
    (tmp_path / "half.json").write_text("{", encoding="utf-8")
    done = perfkit(tmp_path, "verify", "half.json", "bad.json")
    assert (done.returncode, "half.json is not JSON" in done.stderr) == (2, True)


def test_of_a_folder_what_holds_no_figures_is_named_and_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/good.json").write_text(json.dumps(RUN), encoding="utf-8")
    (tmp_path / "runs/gate.json").write_text('{"judgements": []}', encoding="utf-8")
    done = perfkit(tmp_path, "verify", "runs")
    assert done.returncode == 0, done.stderr
    assert "runs/good.json" in done.stdout
    assert done.stderr == "perfkit: runs/gate.json holds no figures to verify\n"
    asked = perfkit(tmp_path, "verify", "runs/good.json", "runs/gate.json")
    assert (asked.returncode, asked.stdout) == (2, done.stdout)
    (tmp_path / "runs/half.json").write_text("{", encoding="utf-8")
    done = perfkit(tmp_path, "verify", "runs")
    assert done.returncode == 2
    assert "runs/half.json is not JSON" in done.stderr


def test_a_synthetic_file_says_so_though_its_sums_are_right(tmp_path: Path) -> None:
    path = ROOT.parent / "data/mock/metrics_trtllm_synthetic.json"
    done = perfkit(tmp_path, "verify", str(path))
    assert done.returncode == 0
    assert "SYNTHETIC" in done.stdout.splitlines()[0]
