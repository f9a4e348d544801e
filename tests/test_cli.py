from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.reporting.documents import small

if TYPE_CHECKING:
    from pathlib import Path


def perfkit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from perfkit.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--matrix", "smok"), "unknown matrix 'smok'"),
        (("run", "--model", "nowhere"), "nowhere holds no model"),
        (("run", "--prompts", "none.txt"), "cannot read the prompts file none.txt"),
        (("run", "--device", "tpu"), "unknown device 'tpu': expected one of auto, cpu, gpu"),
        (("run", "--matrix", "smoke", "--case", "b99"), "none of the 5 cells of smoke is left"),
        (("run", "--matrix", "smoke", "--output", "file/x/out.json"), "cannot write to file/x"),
        (("run", "--matrix", "smoke", "--output", "out"), "--output out: expected the name of a"),
        (("run", "--matrix", "smoke", "--output", "d.json"), "--output d.json: expected the name"),
        (("sweep", "smok"), "unknown matrix 'smok'"),
        (("sweep", "latin.toml"), "latin.toml is not UTF-8 text"),
        (("sweep", "--again", "oom"), "add --resume"),
        (("sweep", "--resume", "--again", "omm"), "unknown verdict 'omm'"),
        (("sweep", "--prompts", "none.txt"), "cannot read the prompts file none.txt"),
        (("sweep", "--resume"), "data holds no sweep"),
        (("sweep", "--output", "file"), "cannot write to file"),
        (("plots", "none.json"), "cannot read none.json"),
        (("plots", "foreign.json"), "foreign.json was not written by perfkit"),
        (("plots", "corrupt.json"), "corrupt.json is not JSON"),
        (("memory", "none.json"), "cannot read none.json"),
        (("memory",), "cannot read results/metrics_pytorch.json"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "d.json").mkdir()
    (tmp_path / "latin.toml").write_bytes(b"# caf\xe9\n")
    (tmp_path / "foreign.json").write_text('{"benchmarks": []}', encoding="utf-8")
    (tmp_path / "corrupt.json").write_text('{"benchm', encoding="utf-8")
    done = perfkit(tmp_path, *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_a_broken_file_is_named_and_the_others_are_drawn(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(small()), encoding="utf-8")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    done = perfkit(tmp_path, "plots", "good.json", "bad.json")
    assert done.returncode == 2
    assert "bad.json is not JSON" in done.stderr
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert drawn == {
        "tokens_per_sec.png", "latency_cdf.png", "memory.png", "throughput_vs_batch.png",
    }  # fmt: skip


def test_memory_prints_a_table_and_draws_its_picture(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(small()), encoding="utf-8")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    done = perfkit(tmp_path, "memory", "good.json", "bad.json", "--output", "drawn")
    assert done.returncode == 2
    assert "bad.json is not JSON" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "drawn/memory.png"
    assert sum("/b" in line and "/p128" in line for line in lines) == 6
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["memory.png"]


def test_run_measures_writes_and_prints_a_table(tmp_path: Path) -> None:
    done = perfkit(
        tmp_path, "run", "--matrix", "smoke", "--case", "torch-eager/llama-tiny/bf16",
        "--rounds", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "results/metrics_pytorch.json").read_text(encoding="utf-8"))
    assert len(document["perfkit"]["cells"]) == len(document["benchmarks"]) == 2
    assert document["perfkit"]["ceilings"]["verdict"] == "ok"
    assert (tmp_path / "results/metrics_pytorch.csv").read_text(encoding="utf-8").count("\n") == 3
    assert sorted(path.suffix for path in (tmp_path / "results").iterdir()) == [".csv", ".json"]
    assert "tok/s" in done.stdout
    lines = done.stdout.splitlines()
    assert lines[-2:] == ["results/metrics_pytorch.json", "results/metrics_pytorch.csv"]
    announced = [line for line in lines if line.startswith("[")]
    assert [line.split()[0] for line in announced] == ["[1/2]", "[2/2]"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_ceilings")
def test_an_interrupted_run_keeps_its_cells_and_goes_on_with_resume(tmp_path: Path) -> None:
    matrix = tmp_path / "two.toml"
    matrix.write_text(
        'device = "cpu"\n[axes]\nbackend = ["torch-eager"]\nmodel = ["llama-tiny"]\n'
        'precision = ["fp32"]\nbatch = [1]\nprompt_len = [8]\nnew_tokens = [2, 200]\n',
        encoding="utf-8",
    )
    code = "from perfkit.cli import main; main()"
    command = [sys.executable, "-c", code, "run", "--matrix", str(matrix), "--rounds", "99"]
    journal = tmp_path / "results/metrics_pytorch.journal.jsonl"
    process = subprocess.Popen(
        command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    # The file is there a moment before its first line is.
    while not (journal.is_file() and journal.stat().st_size) and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = "finished cells are kept in results/metrics_pytorch.json; go on with --resume"
    assert said.strip() == f"perfkit: interrupted; {kept}"
    result = tmp_path / "results/metrics_pytorch.json"
    assert len(json.loads(result.read_text(encoding="utf-8"))["benchmarks"]) == 1
    done = perfkit(tmp_path, "run", "--matrix", str(matrix), "--rounds", "2", "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(result.read_text(encoding="utf-8"))["benchmarks"]) == 2
    assert not journal.is_file()


def test_doctor_says_what_runs_and_why_the_rest_would_skip(tmp_path: Path) -> None:
    done = perfkit(tmp_path, "doctor")
    assert done.returncode == 0
    assert "matrix smoke" in done.stdout
    assert "fp32" in done.stdout


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['perfkit', '--help']\n"
        "from perfkit.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('heavy:', sorted({'torch', 'transformers', 'pandas', 'matplotlib', 'pydantic'}"
        " & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "heavy: []" in done.stdout
