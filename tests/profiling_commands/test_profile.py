from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer

from perfkit.cases import Case
from perfkit.profiling_commands import profile
from perfkit.suite import Measuring
from tests.here import perfkit
from tests.profiling.made import NCU_HEAD, ncu_row

if TYPE_CHECKING:
    from pathlib import Path

CASE = "torch-eager/llama-tiny/fp32/{}/b2/p64/n4/tp1"


def file_of(folder: Path, attention: str) -> Path:
    return folder / "profiles" / f"{CASE.format(attention).replace('/', '_')}.json"


@pytest.mark.slow
@pytest.mark.usefixtures("no_ceilings")
def test_a_profiled_case_has_its_phases_by_class_and_its_tables(tmp_path: Path) -> None:
    done = perfkit(tmp_path, "profile", CASE.format("fmha"), "--device", "cpu", "--rounds", "2")
    assert done.returncode == 0, done.stderr
    assert "a prefill (" in done.stdout
    assert "a decode step (" in done.stdout
    document = json.loads(file_of(tmp_path, "fmha").read_text())
    (cell,) = document["perfkit"]["cells"].values()
    phases = cell["profile"]["phases"]
    assert {name: phase["calls"] for name, phase in phases.items()} == {"prefill": 1, "decode": 3}
    assert sum(phases["prefill"]["shares"].values()) == pytest.approx(1)
    assert {"fmha", "gemm"} <= set(phases["prefill"]["classes"])
    # Operators of a CPU have no timeline.
    assert (tmp_path / "plots" / "kernel_breakdown.png").is_file()
    assert not (tmp_path / "plots" / "timeline.png").exists()


def stored(folder: Path, name: str, key: str = "cpu-a", **cell: Any) -> str:
    phase = {
        "calls": 1, "launches": 7, "window_s": 0.1, "busy_s": 0.08, "classes": {"gemm": 0.08},
    }  # fmt: skip
    case = {"backend": "torch-eager", "model": "llama-tiny", "precision": "fp32",
            "attention": name, "batch": 1, "prompt_len": 8, "new_tokens": 1, "tp": 1}  # fmt: skip
    made = {
        "case": case, "verdict": "ok", "agreement": {"status": "agrees"},
        "metrics": {"ttft_s": 0.1, "tpot_s": None},
        "profile": {"tool": "torch", "phases": {"prefill": phase}}, **cell,
    }  # fmt: skip
    document = {
        "benchmarks": [],
        "perfkit": {"schema": 1, "machine": {"key": key, "name": key}, "cells": {name: made}},
    }
    path = folder / f"{name}-{key}.json"
    path.write_text(json.dumps(document))
    return str(path)


def test_explain_takes_the_phases_that_both_have(tmp_path: Path) -> None:
    done = perfkit(tmp_path, "explain", stored(tmp_path, "nofmha"), stored(tmp_path, "fmha"))
    assert done.returncode == 0, done.stderr
    assert "a prefill: torch-eager/fp32/nofmha 100 ms, torch-eager/fp32/fmha 100 ms" in done.stdout
    assert "a decode step" not in done.stdout
    assert "not explained: torch-eager/fp32/nofmha has no profile of its decode" in done.stdout
    assert (tmp_path / "plots" / "waterfall_prefill.png").is_file()


def test_a_part_of_an_id_is_a_whole_part(tmp_path: Path) -> None:
    path = stored(tmp_path, "nofmha")
    document = json.loads((tmp_path / "nofmha-cpu-a.json").read_text())
    (cell,) = document["perfkit"]["cells"].values()
    both = {f"torch-eager/llama-tiny/fp32/{name}/b1/p8/n1/tp1": cell for name in ("nofmha", "fmha")}
    document["perfkit"]["cells"] = both
    (tmp_path / "nofmha-cpu-a.json").write_text(json.dumps(document))
    done = perfkit(tmp_path, "explain", f"{path}::fmha", f"{path}::fp32/nofmha")
    assert done.returncode == 0, done.stderr
    assert "expected one profiled cell" in perfkit(tmp_path, "explain", path, path).stderr


def test_what_cannot_be_explained_is_one_line(tmp_path: Path) -> None:
    good = stored(tmp_path, "fmha")
    for other, words in (
        (stored(tmp_path, "fmha", key="cpu-b"), "measured on cpu-a and on cpu-b"),
        (stored(tmp_path, "shaky", verdict="unstable", reason="x"), "is unstable: x; measure it"),
        (stored(tmp_path, "hurt", metrics={"ttft_s": "soon"}), "ttft_s is 'soon', expected a num"),
        (stored(tmp_path, "nofmha", profile=None), "none of 1 cells: perfkit profile takes one"),
        (f"{good}::nosuch", "no cell is meant; "),
        (str(tmp_path / "none.json"), "none.json"),
    ):
        done = perfkit(tmp_path, "explain", good, other)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
        assert len(done.stderr.splitlines()) == 1


FAKE = """
import pathlib, shutil, subprocess, sys
log = [a for a in sys.argv if a.startswith("--log-file=")][0].partition("=")[2]
at = next(i for i, a in enumerate(sys.argv) if a.endswith("python") or "/python" in a)
code = subprocess.call(sys.argv[at:])
shutil.copy(pathlib.Path(__file__).with_name("counted.csv"), log)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("no_ceilings")
def test_ncu_runs_the_case_and_what_it_counted_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [ncu_row(0, "flash_fwd_kernel", "Duration", "us", "12.5")]
    (tmp_path / "counted.csv").write_text(NCU_HEAD + "".join(rows))
    (tmp_path / "fake.py").write_text(FAKE)
    tool = tmp_path / "ncu"
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/fake.py "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    case = Case.parse(CASE.format("fmha"))
    stem = tmp_path / "out" / "cell"
    what = Measuring(
        matrices=(str(profile._matrix(case, "cpu", stem.with_name("cell.toml"))),), model=None,
        device="cpu", prompts=None, rounds=2, max_warmup=1, seed=0, profile=stem.parent,
        profiler="ncu",
    )  # fmt: skip
    with pytest.raises(typer.Exit) as ended:
        profile._ncu(what, stem)
    assert ended.value.exit_code == 0
    assert sorted(one.name for one in stem.parent.iterdir()) == [
        "cell.toml", "cell_ncu.csv", "cell_ncu_metrics.csv",
    ]  # fmt: skip
    assert "flash_fwd_kernel" in (stem.parent / "cell_ncu_metrics.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("llama",), "not a case id: 'llama'"),
        ((CASE.format("fmha"), "--tool", "perf"), "unknown tool 'perf'"),
        (
            (CASE.format("fmha"), "--tool", "nsys"),
            "nsys looks at GPUs, and this is a CPU; on",
        ),
        ((CASE.format("fmha=zzz"),), "cannot run here: "),
        (
            (CASE.format("fmha").replace("tp1", "tp2"),),
            "a process of its own, which has no profile",
        ),
    ],
)
def test_a_profile_asked_for_wrongly_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = perfkit(tmp_path, "profile", *arguments, "--device", "cpu")
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "profiles").exists()
