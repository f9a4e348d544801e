from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.here import perfkit

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ("--requests", "300", "--seeds", "2", "--max-batch", "4")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "data/dyn_batch_sweep.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_continuous_policies_and_batches_in_one_sweep(tmp_path: Path) -> None:
    asked = ("--policy", "dynamic", "--policy", "vllm", "--policy", "trtllm-no-evict")
    done = perfkit(
        tmp_path, "batching", "sweep", *SMALL, *asked, "--delay-ms", "0", "--load", "0.5"
    )
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path)
    assert [row["policy"] for row in rows] == ["dynamic", "vllm", "trtllm-no-evict"]
    assert rows[0]["ttft_p99"] == ""
    assert float(rows[1]["ttft_p99"]) > 0


def test_two_processes_make_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    found = []
    for jobs in ("1", "2"):
        (folder := tmp_path / jobs).mkdir()
        done = perfkit(folder, "batching", "sweep", *SMALL, "--load", "0.5", "--jobs", jobs)
        assert done.returncode == 0, done.stderr
        found.append([{**row, "sim_req_per_s": ""} for row in table(folder)])
    for one, two in zip(*found, strict=True):
        assert {k: v for k, v in one.items() if not k.startswith("theory")} == {
            k: v for k, v in two.items() if not k.startswith("theory")
        }
        if one["theory_wait"]:  # solved by a linear algebra that may differ by threads
            assert float(one["theory_wait"]) == pytest.approx(float(two["theory_wait"]), rel=1e-9)


@pytest.mark.slow
def test_ray_makes_the_same_rows_in_the_same_order(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    found = []
    try:
        for transport in ("local", "ray"):
            (folder := tmp_path / transport).mkdir()
            asked = ("--policy", "static", "--policy", "vllm", "--transport", transport)
            done = perfkit(folder, "batching", "sweep", *SMALL, "--jobs", "2", *asked)
            assert done.returncode == 0, done.stderr
            assert "[8/8] " in done.stdout
            found.append([{**row, "sim_req_per_s": ""} for row in table(folder)])
    finally:
        ray.shutdown()  # the command ran in this process, whose other tests need their own
    assert found[0] == found[1]
    assert len(found[0]) == 8


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_sweep_keeps_its_finished_points(tmp_path: Path, jobs: str) -> None:
    code = "from perfkit.cli import main; main()"
    many = ("--requests", "100000", "--seeds", "40", "--jobs", jobs)
    command = [sys.executable, "-c", code, "batching", "sweep", *many]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal's Ctrl-C, to all of them
        _, said = process.communicate(timeout=60)
    assert first.startswith("[ 1/52] one-by-one at ")
    assert process.returncode == 130
    assert "interrupted; " in said
    assert "finished points are kept" in said
    rows = table(tmp_path)
    assert 1 <= len(rows) < 52
    assert rows[0]["policy"] == "one-by-one"
    assert not (tmp_path / "plots").exists()


def test_a_point_that_cannot_be_is_flagged_and_the_others_stay(tmp_path: Path) -> None:
    asked = ("--policy", "static", "--arrival", "closed", "--clients", "2", "--clients", "9")
    done = perfkit(tmp_path, "batching", "sweep", *SMALL, *asked)
    assert done.returncode == 0, done.stderr
    assert "never fills with 2 clients" in done.stdout
    assert [bool(row["problem"]) for row in table(tmp_path)] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--policy", "psychic"], "unknown policy 'psychic'"),
        (["--policy", "vllm", "--delay-ms", "5"], "--delay-ms is no option of vllm"),
        (["--policy", "vllm", "--base-ms", "5"], "--base-ms: of whole batches alone"),
        (["--token-us", "5"], "--token-us: of continuous batching alone"),
        (["--arrival", "closed"], "--arrival closed needs --clients"),
        (["--arrival", "closed", "--clients", "2", "--load", "0.5"], "--load is of poisson"),
        (["--clients", "2"], "--clients is of closed, and arrivals are poisson"),
        (["--arrival", "closed", "--clients", "1", "--policy", "static"], "no point could be"),
        (
            ["--replicas", "3", "--policy", "static"],
            "a fleet is of dynamic replicas, not of static",
        ),
        (["--transport", "pigeon"], "unknown transport 'pigeon'"),
        (["--jobs", "0"], "jobs 0: expected 1 or more"),
        (["--policy", "one-by-one"], "--max-batch is no option of one-by-one"),
        (["--output", "."], "cannot write to .: it is a folder"),
        (["--output", "t.csv"], "cannot write to t_sizes.csv: it is a folder"),
        (["--plots", "file"], "cannot write to file"),
        (["--plots", "file/x"], "cannot write to file"),
        (["--plots", "/proc/x/y"], "cannot write to /proc"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "t_sizes.csv").mkdir()
    (tmp_path / "file").touch()
    done = perfkit(tmp_path, "batching", "sweep", *SMALL, *arguments)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
