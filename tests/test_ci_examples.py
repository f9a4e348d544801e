"""docs/ci: its commands exist, the files they name are there, the gate's step ends as it should."""

from __future__ import annotations

import itertools
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from perfkit.cli import app
from perfkit.paths import matrices

CI = Path(__file__).resolve().parents[1] / "docs/ci"
WORKFLOWS = sorted(CI.glob("*.yml"))


def steps(path: Path) -> list[dict[str, Any]]:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def lines(program: str) -> list[list[str]]:
    """Return the arguments of every line of the workflows that runs a program."""
    scripts = [step["run"] for path in WORKFLOWS for step in steps(path) if "run" in step]
    found = [line.split("||")[0].strip() for script in scripts for line in script.splitlines()]
    return [shlex.split(line)[1:] for line in found if line.split(" ")[0] == program]


def commands() -> dict[str, Any]:
    found: Any = typer.main.get_command(app)
    return dict(found.commands)


def id_of(arguments: list[str]) -> str:
    return " ".join(arguments)


def test_both_workflows_measure_and_nothing_is_named_twice() -> None:
    assert [path.name for path in WORKFLOWS] == ["perf-cpu.yml", "perf-gpu.yml"]
    named = {arguments[0] for arguments in lines("perfkit")}
    assert named == {"doctor", "run", "gate", "report"}
    assert len(lines("pytest")) == 2


@pytest.mark.parametrize("arguments", lines("perfkit"), ids=id_of)
def test_a_command_of_perfkit_parses(arguments: list[str]) -> None:
    name, *rest = arguments
    command = commands().get(name)
    assert command is not None
    command.make_context(name, rest)  # an unknown option or a wrong value raises


def test_an_option_that_is_not_there_would_be_seen() -> None:
    with pytest.raises(Exception, match="No such option"):
        commands()["run"].make_context("run", ["--matrixx", "smoke"])


@pytest.mark.parametrize("arguments", lines("pytest"), ids=id_of)
def test_a_command_of_pytest_parses(arguments: list[str], pytestconfig: pytest.Config) -> None:
    _, unknown = pytestconfig._parser.parse_known_and_unknown_args(arguments)
    assert unknown == []


@pytest.mark.parametrize("arguments", [*lines("perfkit"), *lines("pytest")], ids=id_of)
def test_files_and_matrices_that_are_named_exist(arguments: list[str]) -> None:
    told = [part.split("=", 1)[-1] for part in arguments]
    for part in told:
        if part.startswith("perf"):
            assert (CI / part).exists(), part
    named = [value for flag, value in itertools.pairwise(arguments)
             if flag == "--matrix"]  # fmt: skip
    named += [part.split("=")[1] for part in arguments if part.startswith("--perfkit-matrix=")]
    for name in named:
        assert name in matrices() or (CI / name).is_file(), name


def test_tinyllamas_matrix_has_two_arms() -> None:
    told = tomllib.loads((CI / "perf/tinyllama-cpu.toml").read_text(encoding="utf-8"))
    assert told["device"] == "cpu"
    assert told["axes"]["model"] == ["tinyllama-1.1b"]
    assert told["axes"]["attention"] == ["nofmha", "fmha"]


def test_the_files_make_a_suite_of_their_own(pytester: pytest.Pytester) -> None:
    shutil.copy(CI / "conftest.py", pytester.path)
    shutil.copytree(CI / "perf", pytester.path / "perf")
    (arguments,) = [found for found in lines("pytest") if "cpu" in found]
    done = pytester.runpytest_subprocess("--collect-only", "-q", *arguments)
    assert done.ret == 0
    done.stdout.fnmatch_lines(["perf/test_generation.py::*llama-tiny/fp32/fmha/b2/p16/n8/tp1*"])


@pytest.mark.parametrize(
    ("code", "ends", "words"),
    [(0, 0, ""), (1, 1, "::error::REGRESSED"), (2, 2, "is there a baseline"),
     (3, 3, "::error::not judged"), (4, 0, "::warning::INCONCLUSIVE"), (130, 130, "")],
)  # fmt: skip
def test_the_gates_step_ends_as_the_gate_did_but_for_inconclusive(
    tmp_path: Path, code: int, ends: int, words: str
) -> None:
    (script,) = [step["run"] for step in steps(CI / "perf-gpu.yml") if step.get("name") == "Gate"]
    stub = tmp_path / "bin/perfkit"
    stub.parent.mkdir()
    writes = (
        "" if code == 2 else "mkdir -p results/gate; echo '# verdicts' > results/gate/gate.md\n"
    )
    stub.write_text(f"#!/bin/sh\n{writes}exit {code}\n", encoding="utf-8")
    stub.chmod(0o755)
    summary = tmp_path / "summary.md"
    environment = {"PATH": f"{stub.parent}:/usr/bin:/bin", "GITHUB_STEP_SUMMARY": str(summary)}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, env=environment, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == ends
    assert words in done.stdout
    assert done.stderr == ""
    assert summary.exists() == (code != 2)
