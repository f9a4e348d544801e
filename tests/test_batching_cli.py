from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from perfkit.batching.service import Service
from tests.reporting.documents import cell, document
from tests.test_cli import perfkit

MOCK = Path(__file__).resolve().parents[1] / "data/mock/metrics_trtllm_synthetic.json"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    shapes = itertools.product((1, 8, 32), (128, 512))
    made = document(*(cell(batch=batch, prompt=prompt) for batch, prompt in shapes))
    (tmp_path / "r.json").write_text(json.dumps(made), encoding="utf-8")
    return tmp_path


def test_a_fit_is_printed_with_its_errors_and_written(results: Path) -> None:
    done = perfkit(results, "batching", "fit", "r.json", "--output", "out/service.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("6 cells of torch-eager/")
    assert done.stdout.count("unseen cells: off by ") == 2
    written = Service.from_json(json.loads((results / "out/service.json").read_text()))
    assert written.batch == 32
    assert written.of is not None
    told = perfkit(results, "batching", "simulate", "--service", "out/service.json", "--requests",
                   "100", "--seeds", "2")  # fmt: skip
    assert f"service: out/service.json ({written.of}), prompt 512, new 128" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["r.json", "--arm", "colour=blue"], "--arm colour=blue: expected NAME=VALUE with one of"),
        (["r.json", "--arm", "backend=nobody"], "no cell of verdict ok for backend nobody"),
        ([str(MOCK)], "is synthetic"),
        (["nobody.json"], "cannot read nobody.json"),
        (["r.json", "--output", "."], "cannot write to .: it is a folder"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(results: Path, arguments: list[str], words: str) -> None:
    done = perfkit(results, "batching", "fit", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_sweep_is_two_tables_and_three_pictures(tmp_path: Path) -> None:
    small = ["--requests", "300", "--seeds", "2", "--max-batch", "4", "--load", "0.5"]
    done = perfkit(tmp_path, "batching", "sweep", *small)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("[1/5] one-by-one at ")
    names = [
        "data/dyn_batch_sweep.csv",
        "data/dyn_batch_sweep_sizes.csv",
        *(f"plots/dyn_batch_{part}.png" for part in ("latency", "p99", "sizes")),
    ]
    assert lines[-5:] == names
    assert all((tmp_path / name).stat().st_size for name in names)
    (tmp_path / names[1]).unlink()
    again = perfkit(tmp_path, "batching", "plots", names[0], "--plots", "again")
    assert again.stdout.splitlines() == [
        f"again/dyn_batch_{part}.png" for part in ("latency", "p99")
    ]
    none = perfkit(tmp_path, "batching", "plots", "nosuch.csv")
    assert none.returncode == 2
    assert "cannot read nosuch.csv as a batching sweep" in none.stderr


def test_a_fit_serves_a_sweep_within_its_reach(results: Path) -> None:
    perfkit(results, "batching", "fit", "r.json", "--output", "fit.json")
    small = ["--service", "fit.json", "--requests", "300", "--seeds", "2", "--load", "0.5"]
    done = perfkit(results, "batching", "sweep", *small, "--max-batch", "4", "--prompt", "256")
    assert done.returncode == 0, done.stderr
    far = perfkit(results, "batching", "sweep", *small, "--max-batch", "400")
    assert far.returncode == 2
    assert "over 2 times the largest measured, 32" in far.stderr


def test_capacity_says_replicas_batch_delay_and_margin(tmp_path: Path) -> None:
    done = perfkit(tmp_path, "batching", "capacity", "--rate", "500", "--p99-ms", "100")
    assert done.returncode == 0, done.stderr
    assert "replicas, at most " in done.stdout
    assert "% under 100 ms" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sweep", "--arrival", "tides"], "unknown arrival process 'tides'"),
        (["sweep", "--load", "-1"], "load -1.0"),
        (["sweep", "--delay-ms", "-5"], "--delay-ms -5.0"),
        (["sweep", "--max-batch", "0"], "batch 0"),
        (["sweep", "--base-ms", "-1"], "expected finite numbers >= 0"),
        (["sweep", "--service", "nobody.json"], "cannot read nobody.json"),
        (["capacity", "--rate", "nan", "--p99-ms", "5"], "rate_per_s nan"),
        (["capacity", "--rate", "10", "--p99-ms", "5"], "cannot be had"),
        (["capacity", "--rate", "1", "--p99-ms", "5", "--max-batch", "0"], "--max-batch 0"),
        (["capacity", "--rate", "1", "--p99-ms", "99", "--routing", "x"], "unknown routing 'x'"),
    ],
)
def test_wrong_use_of_the_simulator_is_one_line(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = perfkit(tmp_path, "batching", *arguments)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
