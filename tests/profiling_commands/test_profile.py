from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.profiling.explain import IDLE
from tests.batching_commands.here import perfkit

if TYPE_CHECKING:
    from pathlib import Path

CASE = "torch-eager/llama-tiny/fp32/{}/b2/p64/n4/tp1"


def file_of(folder: Path, attention: str) -> Path:
    return folder / "profiles" / f"{CASE.format(attention).replace('/', '_')}.json"


@pytest.mark.slow
def test_two_arms_are_profiled_and_what_moved_between_them_adds_up(tmp_path: Path) -> None:
    arms = ("nofmha", "fmha")
    for attention in arms:
        done = perfkit(
            tmp_path, "profile", CASE.format(attention), "--device", "cpu", "--rounds", "2"
        )
        assert done.returncode == 0, done.stderr
        assert "a prefill (" in done.stdout
        assert "a decode step (" in done.stdout
    for attention in arms:
        document = json.loads(file_of(tmp_path, attention).read_text())
        (cell,) = document["perfkit"]["cells"].values()
        phases = cell["profile"]["phases"]
        assert {name: phase["calls"] for name, phase in phases.items()} == {
            "prefill": 1, "decode": 3,
        }  # fmt: skip
        assert sum(phases["prefill"]["shares"].values()) == pytest.approx(1)
        assert ("fmha" in phases["prefill"]["classes"]) == (attention == "fmha")
    found = perfkit(
        tmp_path, "explain", *(str(file_of(tmp_path, one)) for one in arms), "--phase", "prefill"
    )
    # The tiny model's own overhead under a profiler may be over what explain accepts.
    if found.returncode == 0:
        assert f"  {IDLE}" in found.stdout
        assert (tmp_path / "plots" / "waterfall_prefill.png").is_file()
    else:
        assert (found.returncode, "profile" in found.stderr) == (2, True)
    for name in ("kernel_breakdown", "timeline"):
        assert (tmp_path / "plots" / f"{name}.png").is_file()


def stored(folder: Path, name: str, key: str = "cpu-a", **cell: Any) -> str:
    phase = {"calls": 1, "window_s": 0.1, "busy_s": 0.08, "classes": {"gemm": 0.08}}
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
    assert "decode" not in done.stdout
    assert (tmp_path / "plots" / "waterfall_prefill.png").is_file()


def test_what_cannot_be_explained_is_one_line(tmp_path: Path) -> None:
    good = stored(tmp_path, "fmha")
    for other, words in (
        (stored(tmp_path, "fmha", key="cpu-b"), "measured on cpu-a and on cpu-b"),
        (stored(tmp_path, "nofmha", profile=None), "none of 1 cells: perfkit profile takes one"),
        (f"{good}::nosuch", "none of 0 cells"),
        (str(tmp_path / "none.json"), "none.json"),
    ):
        done = perfkit(tmp_path, "explain", good, other)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("llama",), "not a case id: 'llama'"),
        ((CASE.format("fmha"), "--tool", "perf"), "unknown tool 'perf'"),
        ((CASE.format("fmha"), "--tool", "nsys"), "--tool nsys looks at GPUs"),
    ],
)
def test_a_profile_asked_for_wrongly_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = perfkit(tmp_path, "profile", *arguments, "--device", "cpu")
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "profiles").exists()
