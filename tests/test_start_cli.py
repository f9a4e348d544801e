from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from perfkit.starting import runs
from tests.here import perfkit

if TYPE_CHECKING:
    from pathlib import Path

CASE = "torch-compile/llama-tiny/fp32/fmha/b1/p16/n8/tp1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("torch-compile/llama-tiny",), "torch-compile/llama-tiny"),
        (("torch-eager/llama-tiny/fp32/fmha/b1/p8/n2/tp2",), "processes of its own"),
        (("trtllm-engine/llama2-7b/bf16/fmha/b1/p8/n2/tp1",), "processes of its own"),
        (("torch-eager/llama-tiny/fp32/fmha/b1/p9999999/n2/tp1",), "positions"),
        (("torch-eager/local:x/fp32/fmha/b1/p8/n2/tp1",), "give it with --model"),
        ((CASE, "--device", "tpu"), "unknown device 'tpu'"),
        ((CASE, "--output", "out"), "expected the name of a .json file"),
        ((CASE, "--model", "nowhere"), "nowhere holds no model"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = perfkit(tmp_path, "start", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_failing_process_is_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_IMPORTS", {"x": "no_such_module"})
    done = perfkit(tmp_path, "start", CASE, "--device", "cpu")
    assert done.returncode == 1
    assert "ModuleNotFoundError" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results" / "start.json").exists()


@pytest.mark.slow
def test_a_warm_start_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_VEC_ISA_OK", "0")  # plain C++ compiles sooner
    done = perfkit(tmp_path, "start", CASE, "--device", "cpu", "--runs", "1")
    assert done.returncode == 0, done.stderr
    assert "process start to first token" in done.stdout
    document = json.loads((tmp_path / "results" / "start.json").read_text(encoding="utf-8"))
    eager, cold, warm = document["processes"]
    assert [one["kind"] for one in (eager, cold, warm)] == ["torch-eager", "cold", "warm"]
    assert eager["case"] == CASE.replace("torch-compile", "torch-eager")
    assert (eager["cache"]["files"], cold["cache"]["new_files"] > 0) == (0, True)
    assert warm["cache"]["new_files"] == 0
    graphs = cold["compiled"]["inductor"]["graph_misses"]
    assert graphs > 0
    assert warm["compiled"]["inductor"] == {
        "graph_hits": graphs, "graph_misses": 0, "graph_bypasses": 0,
        "autograd_hits": graphs, "autograd_misses": 0, "autograd_bypasses": 0,
    }  # fmt: skip
    assert all(one["engine"].get("compiled") for one in (cold, warm))
    figures = document["figures"]
    assert figures["warm"]["first_token_s"] < figures["cold"]["first_token_s"]
    assert set(document["break_even"]) == {"cold", "warm"}
    assert document["machine"]["key"].startswith("cpu-")
    assert document["command"][:2] == ["perfkit", "start"]
