from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.machine.identity import Gpu
from perfkit.machine.requirements import missing_gpus
from perfkit.paths import shipped

if TYPE_CHECKING:
    from pathlib import Path

CELL = """
[[include]]
backend = "torch-eager"
model = "llama-tiny"
precision = "{precision}"
attention = {attention}
batch = 2
prompt_len = {prompt_len}
new_tokens = {new_tokens}
"""


def matrix(
    folder: Path, device: str = "cpu", precision: str = "fp32",
    attention: str = '["nofmha", "fmha"]', prompt_len: int = 8, new_tokens: int = 3,
) -> Path:  # fmt: skip
    text = f'device = "{device}"\n' + CELL.format(
        precision=precision, attention=attention, prompt_len=prompt_len, new_tokens=new_tokens
    )
    path = folder / f"{device}-{precision}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def suite() -> str:
    return str(shipped("benchmarks/test_generation.py"))


def arguments(pytester: pytest.Pytester, *more: str) -> list[str]:
    return [
        suite(), f"--rootdir={pytester.path}", "-c", os.devnull, "-W", "error",
        "-p", "no:cacheprovider", "--import-mode=importlib", "--benchmark-quiet",
        "--perfkit-no-ceilings", "--perfkit-rounds=2", "--perfkit-max-warmup=1", *more,
    ]  # fmt: skip


def run(pytester: pytest.Pytester, *more: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*arguments(pytester, *more))


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_the_json_s_folder_is_made_or_refused_before_anything_is_measured(
    pytester: pytest.Pytester,
) -> None:
    one = (f"--perfkit-matrix={matrix(pytester.path)}", "--collect-only")
    made = pytester.path / "new" / "folder"
    assert run(pytester, *one, f"--benchmark-json={made / 'out.json'}").ret == 0
    assert made.is_dir()
    (pytester.path / "file").touch()
    refused = run(pytester, *one, f"--benchmark-json={pytester.path / 'file' / 'out.json'}")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*cannot write to *file*"])


def test_every_cell_stands_in_the_json_with_figures_and_verdict(
    pytester: pytest.Pytester,
) -> None:
    out = pytester.path / "out.json"
    result = run(pytester, f"--perfkit-matrix={matrix(pytester.path)}", f"--benchmark-json={out}")
    result.assert_outcomes(passed=2)
    document = read(out)
    cells = document["perfkit"]["cells"]
    assert set(cells) == {
        "torch-eager/llama-tiny/fp32/nofmha/b2/p8/n3/tp1",
        "torch-eager/llama-tiny/fp32/fmha/b2/p8/n3/tp1",
    }
    for cell in cells.values():
        assert cell["agreement"]["status"] == "agrees"
        assert len(cell["samples"]["e2e_s"]) == 2
        assert cell["metrics"]["mfu"] is None
        assert cell["absent"]["mfu"] == "ceilings not measured"
    kinds = {
        cell["case"]["attention"]: cell["attention"]["prefill"]["class"] for cell in cells.values()
    }
    assert kinds == {"nofmha": "materialised", "fmha": "flash"}
    for entry in document["benchmarks"]:
        assert entry["options"]["timer"] == "device_clock"
        cell = cells[entry["name"].partition("[")[2].removesuffix("]")]
        assert entry["stats"]["data"] == pytest.approx(cell["samples"]["device_s"], rel=1e-9)


def test_nothing_timed_still_writes_every_verdict(pytester: pytest.Pytester) -> None:
    out = pytester.path / "out.json"
    asked = matrix(pytester.path, precision="fp16")
    result = run(pytester, f"--perfkit-matrix={asked}", f"--benchmark-json={out}")
    result.assert_outcomes(skipped=2)
    assert "Traceback" not in result.stderr.str()
    document = read(out)
    assert document["benchmarks"] == []
    verdicts = {cell["verdict"] for cell in document["perfkit"]["cells"].values()}
    assert verdicts == {"unsupported"}


def test_a_missing_gpu_skips_saying_need_and_have_or_fails_when_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    asked = f"--perfkit-matrix={matrix(pytester.path, device='gpu', precision='bf16')}"
    result = run(pytester, asked, "-m", "gpu", "-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*needs 1 GPU, found 0*"])
    run(pytester, asked, "-m", "gpu", "--require-gpu").assert_outcomes(errors=2)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_llm") is not None, reason="TensorRT-LLM is here"
)
def test_without_tensorrt_llm_its_cells_skip_saying_so(pytester: pytest.Pytester) -> None:
    out = pytester.path / "out.json"
    result = run(
        pytester, "--perfkit-matrix=memory-trt", "-m", "trt", "-rs", f"--benchmark-json={out}"
    )
    result.assert_outcomes(skipped=12)
    result.stdout.fnmatch_lines(["*needs TensorRT-LLM: no module tensorrt_llm found*"])
    cells = read(out)["perfkit"]["cells"].values()
    assert [cell["verdict"] for cell in cells] == ["unsupported"] * 12


@pytest.mark.thorough
def test_resume_measures_only_what_the_journal_lacks(pytester: pytest.Pytester) -> None:
    journal, out = pytester.path / "journal.jsonl", pytester.path / "out.json"
    asked = f"--perfkit-matrix={matrix(pytester.path)}"
    kept = f"--perfkit-journal={journal}"
    run(pytester, asked, kept, "-k", "nofmha").assert_outcomes(passed=1)
    result = run(pytester, asked, kept, "--perfkit-resume", f"--benchmark-json={out}")
    result.assert_outcomes(passed=1, deselected=1)
    document = read(out)
    assert len(document["perfkit"]["cells"]) == len(document["benchmarks"]) == 2
    assert len(journal.read_text(encoding="utf-8").splitlines()) == 2


def test_an_interrupt_keeps_finished_cells_and_says_so(pytester: pytest.Pytester) -> None:
    journal, out = pytester.path / "journal.jsonl", pytester.path / "out.json"
    short = matrix(pytester.path, attention='"fmha"')
    endless = matrix(pytester.path, precision="bf16", attention='"nofmha"', new_tokens=900)
    command = [
        sys.executable, "-m", "pytest",
        *arguments(
            pytester, f"--perfkit-matrix={short}", f"--perfkit-matrix={endless}",
            f"--perfkit-journal={journal}", f"--benchmark-json={out}", "--perfkit-rounds=1000",
        ),
    ]  # fmt: skip
    command[command.index("--perfkit-rounds=2")] = "--perfkit-rounds=3"
    command.remove("--perfkit-rounds=1000")
    command.append("--perfkit-cell-timeout=10000")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=pytester.path)
    while not journal.is_file() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert "1 of 2 cells finished and kept; not measured:" in output
    document = read(out)
    assert len(document["benchmarks"]) == 1
    assert len(document["perfkit"]["session"]["not_measured"]) == 1


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--perfkit-matrix=smok", "unknown matrix 'smok': did you mean 'smoke'"),
        ("--perfkit-matrix=none.toml", "no matrix file none.toml"),
        ("--perfkit-model=nowhere", "holds no model"),
    ],
)
def test_wrong_use_is_one_line(pytester: pytest.Pytester, option: str, words: str) -> None:
    result = run(pytester, option)
    assert result.ret != 0
    assert words in result.stdout.str() + result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_a_corrupt_baseline_is_one_line_and_nothing_is_measured(pytester: pytest.Pytester) -> None:
    bad = pytester.path / "stored" / "0001_torn.json"
    bad.parent.mkdir()
    bad.write_text('{"bench', encoding="utf-8")
    result = run(pytester, "--benchmark-compare", f"--benchmark-storage=file://{bad.parent}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stderr.str()
    assert f"ERROR: cannot compare: {bad} is not JSON; mend or move what is wrong" in said
    assert "Traceback" not in said


def test_without_pytest_benchmark_it_says_what_is_needed(pytester: pytest.Pytester) -> None:
    bare = [argument for argument in arguments(pytester) if argument != "--benchmark-quiet"]
    result = pytester.runpytest_subprocess(*bare, "-p", "no:benchmark")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: perfkit needs pytest-benchmark" in result.stderr.str()


def test_collecting_imports_no_torch(pytester: pytest.Pytester) -> None:
    script = (
        "import sys, pytest\n"
        f"pytest.main({arguments(pytester, '--collect-only', '-q')!r})\n"
        "print('heavy:', sorted({'torch', 'transformers', 'pandas', 'matplotlib', 'triton'}"
        " & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        cwd=pytester.path,
    )  # fmt: skip
    assert "heavy: []" in done.stdout


H200 = Gpu(0, "GPU-1", "NVIDIA H200", 140 * 2**30, (9, 0))
A10 = Gpu(1, "GPU-2", "NVIDIA A10", 22 * 2**30, (8, 6))


def test_requirements_are_met_or_told() -> None:
    assert missing_gpus([H200], "", n=1, min_mem_gib=80) is None
    assert missing_gpus([H200, A10], "", n=2) is None
    told = missing_gpus([H200, A10], "", n=2, min_mem_gib=80, min_cc=(9, 0))
    assert told == (
        "needs 2 GPUs of at least 80 GiB with compute capability 9.0 or higher, found "
        "NVIDIA H200 (140 GiB, capability 9.0); NVIDIA A10 (22 GiB, capability 8.6)"
    )
    assert missing_gpus([], "no driver") == "needs 1 GPU, found 0 (no driver)"
