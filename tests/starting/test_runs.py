from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest

from perfkit.cases import Case
from perfkit.errors import UsageError
from perfkit.starting import runs
from perfkit.starting.runs import Start, StartError, environment, imports, measured, sequence

if TYPE_CHECKING:
    from pathlib import Path

EAGER = Case.parse("torch-eager/llama-tiny/fp32/fmha/b1/p8/n2/tp1")


def test_eager_begins_and_takes_turns_with_warm_starts() -> None:
    assert sequence(compared=True, runs=1) == ["torch-eager", "cold", "warm"]
    assert sequence(compared=True, runs=3) == [
        "torch-eager", "cold", "warm", "torch-eager", "warm", "torch-eager", "warm",
    ]  # fmt: skip
    assert sequence(compared=False, runs=2) == ["cold", "warm", "warm"]


def test_torch_compile_alone_imports_the_compiler() -> None:
    compiled = EAGER.model_copy(update={"backend": "torch-compile"})
    assert list(imports(compiled)) == ["torch", "triton", "compiler", "transformers", "perfkit"]
    assert list(imports(EAGER)) == ["torch", "triton", "transformers", "perfkit"]


def test_a_persons_own_caches_do_not_warm_a_cold_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "/mine")
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    made = environment(tmp_path)
    assert "TRITON_CACHE_DIR" not in made
    assert made["PERFKIT_CACHE"] == str(tmp_path)
    assert made["PYTHONPATH"].endswith(f"{os.pathsep}/theirs")


def one(case: Case, folder: Path, timeout_s: float = 60) -> None:
    list(measured({"cold": Start(case, "cpu", None, 0, timeout_s)}, ["cold"], folder))


def test_a_start_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"not done 0\.2 s after its start; --timeout allows more"):
        one(EAGER, tmp_path, timeout_s=0.2)
    workers = [
        child for child in psutil.Process().children() if "perfkit.starting" in str(child.cmdline())
    ]
    assert not workers


def test_a_start_that_fails_says_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_IMPORTS", {"x": "no_such_module"})
    with pytest.raises(StartError, match="its process ended with exit code 1: ModuleNotFoundError"):
        one(EAGER, tmp_path)


def test_a_case_that_cannot_run_is_wrong_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_IMPORTS", {})
    with pytest.raises(UsageError, match="fp16 on a CPU has no fast kernels"):
        one(EAGER.model_copy(update={"precision": "fp16"}), tmp_path)
