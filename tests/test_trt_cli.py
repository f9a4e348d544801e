from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from perfkit.results import store
from tests.gating.test_command import perfkit, write_set
from tests.results.trtllm_reports import LOG, report, requests

if TYPE_CHECKING:
    from pathlib import Path

CASE = "trtllm-pytorch/llama2-7b/bf16/fmha/b2/p16/n4/tp1"


def test_a_report_becomes_a_result_file_and_a_table(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(report()), encoding="utf-8")
    (tmp_path / "q.json").write_text(json.dumps(requests()), encoding="utf-8")
    done = perfkit(
        tmp_path, "import-trtllm-bench", "r.json", "--requests", "q.json", "--output", "out/o.json"
    )
    assert done.returncode == 0, done.stderr
    assert "trtllm-engine/llama2-7b/fp16/fmha/b4/p512/n128" in done.stdout
    assert "rounded: a report does not hold --concurrency" in done.stdout
    (cell,) = store.cells_of(store.read(tmp_path / "out/o.json")).values()
    assert len(cell["samples"]["e2e_s"]) == 20


def test_a_gate_refuses_an_imported_file(tmp_path: Path) -> None:
    (tmp_path / "r.log").write_text(LOG, encoding="utf-8")
    assert perfkit(tmp_path, "import-trtllm-bench", "r.log", "--output", "o.json").returncode == 0
    # A baseline that has the very cell, so that nothing but its being imported stands against it.
    write_set(tmp_path, "gate-cpu", cells=tuple(store.cells_of(store.read(tmp_path / "o.json"))))
    gate = perfkit(tmp_path, "gate", "o.json", "--device", "cpu")
    assert gate.returncode == 3
    assert "measured on imported-trtllm-bench, the baseline on" in gate.stdout


def test_a_command_and_its_dataset_are_printed_and_written(tmp_path: Path) -> None:
    done = perfkit(tmp_path, "trtllm-bench", CASE, "--dataset", "d/q.jsonl", "--rounds", "3")
    assert done.returncode == 0, done.stderr
    assert "--dataset d/q.jsonl" in done.stdout
    lines = (tmp_path / "d/q.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6
    assert all(len(json.loads(line)["input_ids"]) == 16 for line in lines)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import-trtllm-bench", "none.json"), "cannot read none.json: No such file"),
        (("import-trtllm-bench", "latin.log"), "latin.log is not UTF-8 text"),
        (("import-trtllm-bench", "broken.json"), "broken.json is not JSON"),
        (("import-trtllm-bench", "other.json"), "other.json is no trtllm-bench report"),
        (("import-trtllm-bench", "r.json", "--requests", "broken.json"), "broken.json is not JSON"),
        (("import-trtllm-bench", "r.json", "--output", "o"), "--output o: expected the name of a"),
        (("import-trtllm-bench", "r.json", "--output", "r.json/o.json"), "cannot write to r.json"),
        (("trtllm-bench", "llama2-7b"), "not a case id: 'llama2-7b'"),
        (("trtllm-bench", CASE.replace("fmha", "nofmha")), "has no FMHA switch"),
        (("trtllm-bench", CASE, "--api-version", "1.5"), "unknown --api-version '1.5'"),
        (("trtllm-bench", CASE, "--dataset", "."), "--dataset . is a folder"),
        (("trtllm-bench", CASE, "--dataset", "r.json/q"), "cannot write to r.json"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "latin.log").write_bytes(b"# caf\xe9\n")
    (tmp_path / "broken.json").write_text('{"engine', encoding="utf-8")
    (tmp_path / "other.json").write_text('{"benchmarks": []}', encoding="utf-8")
    (tmp_path / "r.json").write_text(json.dumps(report()), encoding="utf-8")
    done = perfkit(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


CONFIG = json.dumps(
    {"model": "llama-tiny", "precision": "bf16", "fmha": True, "max_batch_size": 2,
     "max_input_len": 24, "max_seq_len": 32, "max_num_tokens": 64}
)  # fmt: skip


@pytest.mark.parametrize(
    ("command", "text", "words"),
    [
        ("build-engine", CONFIG, "needs TensorRT-LLM: no module tensorrt_llm found"),
        ("build-engine", CONFIG.replace("fmha", "fhma"), "unknown key 'fhma': did you mean 'fmha'"),
        ("build-engine", CONFIG.replace("32", "9999"), "over the 1024 positions of llama-tiny"),
        ("build-engine", "[]", "expected an object of model"),
        ("trt", CONFIG.replace("64", "8"), "max_num_tokens 8 is under max_input_len 24"),
        ("trt", CONFIG, "no GPU found"),
    ],
)
def test_what_no_engine_can_come_of_is_one_line(
    tmp_path: Path, command: str, text: str, words: str
) -> None:
    (tmp_path / "engine.json").write_text(text, encoding="utf-8")
    done = perfkit(tmp_path, command, "engine.json")
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["engine.json"]


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    done = perfkit(tmp_path, "build-engine", "nobody.json")
    assert done.returncode == 2
    assert "cannot read nobody.json" in done.stderr
