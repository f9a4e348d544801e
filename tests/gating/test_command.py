"""The gate end to end: real processes on a model small enough for seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.architectures import ARCHITECTURES
from perfkit.gating import baseline, command
from perfkit.gating.command import record
from perfkit.inputs import models
from perfkit.machine.identity import identify
from perfkit.suite import Measuring
from tests.here import perfkit
from tests.results.runs_made import run

if TYPE_CHECKING:
    from collections.abc import Callable

MATRIX = """
device = "cpu"
[axes]
backend = ["torch-eager"]
model = ["llama-tiny"]
precision = ["fp32"]
attention = ["fmha"]
batch = [1]
prompt_len = [8]
new_tokens = [4]
"""
ROOT = Path(__file__).resolve().parents[2]
Finished = subprocess.CompletedProcess[str]
MOCK = ROOT / "data/mock/metrics_trtllm_synthetic.json"


def write_set(folder: Path, name: str, **how: object) -> Path:
    """Write an accepted baseline of made-up runs for this machine; return its folder."""
    key = identify("cpu").key
    place = baseline.folder_of(folder / "baselines", key, [name])
    for number in range(1, 10):
        part = baseline.PARTS[0] if number % 3 == 1 else baseline.PARTS[1]
        path = place / part / f"{number:04}_run.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        times = (0.3 + number / 1e4,) * 2
        path.write_text(json.dumps(run(key=key, e2e_s=times, **how)), encoding="utf-8")
    return place


def save_run(path: Path, **how: object) -> str:
    path.write_text(json.dumps(run(key=identify("cpu").key, **how)), encoding="utf-8")
    return str(path)


def gate(folder: Path, *files: str) -> Finished:
    return perfkit(folder, "gate", "--device", "cpu", *files)


def test_stored_runs_are_judged_and_reported(tmp_path: Path) -> None:
    write_set(tmp_path, "gate-cpu")
    done = gate(tmp_path, save_run(tmp_path / "new.json", e2e_s=(0.3004, 0.3004)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing regressed (3 SAME); 1 runs" in done.stdout
    found = json.loads((tmp_path / "results/gate/gate.json").read_text(encoding="utf-8"))
    assert {one["verdict"] for one in found["judgements"]} == {"SAME"}
    assert "## perfkit gate" in (tmp_path / "results/gate/gate.md").read_text(encoding="utf-8")


def test_stored_runs_that_are_slower_exit_with_1(tmp_path: Path) -> None:
    write_set(tmp_path, "gate-cpu")
    slow = [save_run(tmp_path / f"{k}.json", e2e_s=(0.33,) * 2) for k in range(6)]
    done = gate(tmp_path, *slow)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "REGRESSED" in done.stdout


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ({"canary": (0.02, 0.02)}, 3, "canary took 20.00 ms before the cells"),
        ({"cells": ("renamed",)}, 3, "MISSING"),
        ({"verdict": "throttled"}, 3, "throttled: for a test"),
        ({"agreement": "unchecked"}, 3, "outputs not shown to agree"),
        ({"e2e_s": (300.0, 300.0)}, 3, "another unit, or another workload"),
        ({"e2e_s": ()}, 3, "INVALID"),
        ({"e2e_s": (0.34, 0.34)}, 4, "no further run confirmed it"),
        ({"e2e_s": (float("nan"),) * 2}, 3, "INVALID"),
    ],
)
def test_what_cannot_be_judged_has_its_exit_code_and_says_why(
    tmp_path: Path, how: dict[str, object], code: int, words: str
) -> None:
    write_set(tmp_path, "gate-cpu")
    done = gate(tmp_path, save_run(tmp_path / "new.json", **how))
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout


def test_only_some_cells_are_judged_when_asked(tmp_path: Path) -> None:
    cells = ("a/b1", "a/b2")
    write_set(tmp_path, "gate-cpu", cells=cells)
    new = save_run(tmp_path / "new.json", cells=("a/b1",), e2e_s=(0.3004,) * 2)
    assert gate(tmp_path, new).returncode == 3
    done = gate(tmp_path, new, "--case", "b1")
    assert done.returncode == 0, done.stdout
    assert "MISSING" not in done.stdout


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (("cells", {"x": "text"}), "its cell x is no object"),
        (("canaries", [{"gemm": []}] * 2), "its canaries cannot be read"),
        (("canaries", [{"gemm": [0.0]}] * 2), "a canary is no positive number"),
    ],
)
def test_a_damaged_file_is_refused_in_words(
    tmp_path: Path, damage: tuple[str, object], words: str
) -> None:
    write_set(tmp_path, "gate-cpu")
    document = run(key=identify("cpu").key)
    document["perfkit"][damage[0]] = damage[1]
    (tmp_path / "new.json").write_text(json.dumps(document), encoding="utf-8")
    done = gate(tmp_path, "new.json")
    assert done.returncode == 2
    assert f"new.json is damaged: {words}" in done.stderr


def test_runs_measured_otherwise_are_invalid(tmp_path: Path) -> None:
    write_set(tmp_path, "gate-cpu")
    document = run(key=identify("cpu").key)
    document["perfkit"]["session"]["rounds"] = 99
    (tmp_path / "new.json").write_text(json.dumps(document), encoding="utf-8")
    done = gate(tmp_path, "new.json")
    assert done.returncode == 3
    assert "measured with {'rounds': 99" in done.stdout


def test_pytest_without_a_baseline_or_cells_ends_as_documented(tmp_path: Path) -> None:
    suite = str(ROOT / "benchmarks/test_generation.py")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "perfkit.pytest_plugin", f"--rootdir={ROOT}",
        "-p", "no:cacheprovider", "--perfkit-gate", "--perfkit-device=cpu", suite,
    ]  # fmt: skip

    def code(*more: str) -> tuple[int, str]:
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, cwd=tmp_path, env=env, check=False
        )
        return done.returncode, done.stdout + done.stderr

    assert code()[0] == 2
    write_set(tmp_path, "gate-cpu")
    found, told = code("-k", "no-such-cell")
    assert found == 3, told
    assert "no cell was measured" in told


def test_a_run_of_another_machine_is_invalid(tmp_path: Path) -> None:
    write_set(tmp_path, "gate-cpu")
    (tmp_path / "new.json").write_text(json.dumps(run(key="gpu-b")), encoding="utf-8")
    done = gate(tmp_path, "new.json")
    assert done.returncode == 3
    assert "measured on gpu-b, the baseline on" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gate",), "perfkit baseline record makes one"),
        (("gate", "foreign.json"), "foreign.json was not written by perfkit"),
        (("gate", "--matrix", "gate-cp"), "perfkit baseline record makes one"),
        (("gate", "--metric", "ttft"), "unknown metric 'ttft': did you mean 'ttft_s'?"),
        (("gate", "--against", "no-such-commit"), "--against: git rev-parse failed"),
        (("gate", "--against", "HEAD", "foreign.json"), "leave out the result files"),
        (("baseline", "record", "--runs", "3"), "--runs 3: expected 9 at least"),
        (("baseline", "record", "--matrix", "gate-cp"), "did you mean 'gate-cpu'?"),
        (("baseline", "accept"), "nothing to accept"),
        (("compare", "foreign.json", "foreign.json"), "foreign.json was not written by perfkit"),
        (("ablation", "foreign.json"), "foreign.json was not written by perfkit"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "foreign.json").write_text('{"benchmarks": []}', encoding="utf-8")
    if "foreign.json" in arguments and "--against" not in arguments:
        write_set(tmp_path, "gate-cpu")
    device = () if arguments[0] == "compare" else ("--device", "cpu")
    done = perfkit(tmp_path, *arguments, *device)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("gate", "mock.json"),
        ("compare", "mock.json", "honest.json"),
        ("compare", "honest.json", "mock.json"),
        ("compare", "honest.json", "mock_attention.json"),
        ("ablation", "honest.json", "mock.json"),
    ],
)
def test_nothing_is_judged_by_a_file_that_nobody_measured(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    write_set(tmp_path, "gate-cpu")
    save_run(tmp_path / "honest.json")
    shutil.copy(MOCK, tmp_path / "mock.json")
    block = {"perfkit_attention": {"schema": 1, "cells": {}, "synthetic": "a test"}}
    (tmp_path / "mock_attention.json").write_text(json.dumps(block), encoding="utf-8")
    device = () if arguments[0] == "compare" else ("--device", "cpu")
    check_refused(perfkit(tmp_path, *arguments, *device), "mock")


@pytest.mark.parametrize(
    ("suffix", "arguments"),
    [
        ("", ("gate", "honest.json")),
        (".candidate", ("baseline", "record", "--resume")),
        (".candidate", ("baseline", "accept", "--reason", "for a test")),
    ],
)
def test_no_baseline_holds_a_file_that_nobody_measured(
    tmp_path: Path, suffix: str, arguments: tuple[str, ...]
) -> None:
    place = write_set(tmp_path, "gate-cpu")
    place = place.rename(place.with_name(place.name + suffix))
    save_run(tmp_path / "honest.json")
    shutil.copy(MOCK, place / "screening" / "0001_run.json")
    check_refused(perfkit(tmp_path, *arguments, "--device", "cpu"), "0001_run")


def check_refused(done: Finished, stem: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert stem in done.stderr
    assert "is synthetic (made by" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "name",
    [
        "gab_pytest_output.json", "ionelmc_2015_0001.json", "lagom_py3.11_0001_baseline.json",
        "proxywhirl_linux312_0001_baseline.json",
    ],
)  # fmt: skip
def test_files_of_other_projects_and_old_schemas_are_refused_in_words(
    tmp_path: Path, name: str
) -> None:
    fixtures = os.environ.get("PERFKIT_FIXTURES")
    if not fixtures:
        pytest.skip("PERFKIT_FIXTURES is not set")
    place = write_set(tmp_path, "gate-cpu")
    file = Path(fixtures) / "pytest_benchmark" / name
    done = gate(tmp_path, str(file))
    assert done.returncode == 2
    assert f"{name} was not written by perfkit" in done.stderr
    (place / "screening" / "0099_run.json").write_bytes(file.read_bytes())
    done = gate(tmp_path, save_run(tmp_path / "new.json"))
    assert done.returncode == 2
    assert "0099_run.json was not written by perfkit" in done.stderr


def make_model(folder: Path, layers: int) -> Path:
    """Write a checkpoint of this many layers into a folder that is always called "model"."""
    source = models.find("llama-tiny")
    arch = replace(ARCHITECTURES["llama-tiny"], layers=layers)
    made = folder / str(layers) / "model"
    models.build(replace(source, arch=arch), "fp32", "cpu").save_pretrained(made)
    return made


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record and accept a baseline of two layers with the real commands; return its folder."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "small.toml").write_text(MATRIX, encoding="utf-8")
    what = Measuring(
        (str(folder / "small.toml"),),
        make_model(folder, 2),
        "cpu",
        None,
        5,
        1,
        seed=0,
        for_gate=True,
    )
    with pytest.MonkeyPatch.context() as patch:
        # A CI machine is shared: a crowded run is refused elsewhere, here it will do.
        patch.setattr(command, "crowded", lambda _: None)
        patch.setattr(command, "fresh_run", two_measured(command.fresh_run))
        candidate = record(what, folder / "baselines", 9, resume=False, say=lambda _: None)
    accept = ("baseline", "accept", "--matrix", "small.toml", "--device", "cpu")
    refused = perfkit(folder, *accept)
    assert refused.returncode == 2
    assert "say why with --reason" in refused.stderr
    done = perfkit(folder, *accept, "--reason", "the first one")
    assert done.returncode == 0, done.stderr
    assert not candidate.exists()
    # A CI machine's times and canaries wander: here they must not keep the gate from speaking, so
    # every run says nearly what the first one measured.
    kept: dict[str, Any] = {}
    for number, path in enumerate(sorted(folder.glob("baselines/*/small/*/*.json"))):
        document = json.loads(path.read_text(encoding="utf-8"))
        for reading in document["perfkit"]["canaries"]:
            for name, times in reading.items():
                reading[name] = [one * (4 if number % 2 else 0.25) for one in times]
        for body in document["perfkit"]["cells"].values():
            body["telemetry"]["cpu_wait_share"] = 0.0
            kept = kept or {name: body[name] for name in ("metrics", "samples")}
            body.update(scaled(kept, 1 + number / 1000))
        path.write_text(json.dumps(document), encoding="utf-8")
    return folder


def two_measured(measure: Callable[..., Any]) -> Callable[..., Any]:
    """Measure two runs for real; each further one is a copy, since its figures are replaced."""
    made: list[Path] = []

    def fresh(what: Measuring, ids: Any, path: Path, **how: Any) -> Any:
        if len(made) < 2:
            made.append(path)
            return measure(what, ids, path, **how)
        shutil.copy(made[-1], path)
        return json.loads(path.read_text(encoding="utf-8"))

    return fresh


def scaled(figures: Any, factor: float) -> Any:
    """Return nested figures, every number among them times ``factor``."""
    if isinstance(figures, dict):
        return {name: scaled(one, factor) for name, one in figures.items()}
    if isinstance(figures, list):
        return [scaled(one, factor) for one in figures]
    return figures * factor if isinstance(figures, float) else figures


def red_unless_crowded(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether the gate is red; on a machine too busy to judge it must say that instead."""
    if done.returncode == 3 and "waited for a CPU" in done.stdout:
        return True
    return done.returncode == 1 and "REGRESSED" in done.stdout


@pytest.mark.slow
def test_pytest_benchmark_still_reads_every_run(recorded: Path) -> None:
    (place,) = (recorded / "baselines").glob("*/small")
    files = [str(path) for part in baseline.PARTS for path in baseline.files(place, part)]
    assert len(files) == 9
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pytest-benchmark")), "compare", *files],
        capture_output=True, text=True, cwd=recorded, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test_generation[torch-eager/local:model/fp32") == 9


@pytest.mark.slow
def test_pytest_gates_its_own_session_and_injected_work_makes_it_red(recorded: Path) -> None:
    """Ten layers where the baseline has two: a slowdown that no noise of a CI machine hides."""
    slow = make_model(recorded, 10)
    arguments = [
        "-q", "-p", "perfkit.pytest_plugin", str(ROOT / "benchmarks/test_generation.py"),
        f"--rootdir={ROOT}", "--perfkit-gate", "--perfkit-matrix=small.toml", "-m", "cpu",
        f"--perfkit-model={slow}", "-p", "no:cacheprovider",
    ]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        capture_output=True, text=True, cwd=recorded, env=env, check=False,
    )  # fmt: skip
    assert "perfkit gate" in done.stdout
    assert red_unless_crowded(done), done.stdout + done.stderr
