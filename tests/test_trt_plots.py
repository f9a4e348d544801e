"""perfkit trt-plots, from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.reporting.documents import cell, document, small
from tests.test_cli import perfkit

MOCK = Path(__file__).resolve().parents[1] / "data/mock/metrics_trtllm_synthetic.json"


def save(path: Path, made: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(made), encoding="utf-8")


def test_a_measured_file_and_the_mock_make_two_marked_pictures(tmp_path: Path) -> None:
    save(tmp_path / "torch.json", document(cell()))
    done = perfkit(tmp_path, "trt-plots", "torch.json", str(MOCK), "--output", "drawn")
    assert done.returncode == 0, done.stderr
    names = ["drawn/trt_tokens_per_sec.png", "drawn/trt_latency_cdf.png"]
    assert done.stdout.splitlines() == names
    assert all(b"SYNTHETIC: " in (tmp_path / name).read_bytes() for name in names)


def test_both_files_of_results_are_taken_unasked(tmp_path: Path) -> None:
    save(tmp_path / "results/metrics_pytorch.json", document(cell()))
    save(tmp_path / "results/metrics_trtllm.json", document(cell("trtllm-pytorch")))
    done = perfkit(tmp_path, "trt-plots")
    assert done.returncode == 0, done.stderr
    assert b"SYNTHETIC" not in (tmp_path / "plots/trt_tokens_per_sec.png").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing measured of TensorRT-LLM in results: give a result file that has it, or try"),
        ((), f"perfkit trt-plots FILE {'/'.join(MOCK.parts[-3:])}"),
        (("torch.json",), "perfkit trt-plots torch.json data/mock/metrics_trtllm_synthetic.json"),
        (("mock.json",), "nothing measured of PyTorch in mock.json"),
        (("small.json", "mock.json"), "no workload in common: PyTorch has gpt2-xl fp32 b1 p128"),
        (("torch.json", "torn.json"), "torn.json is not JSON"),
        (("mock.json", "text.json"), "text.json is damaged: its cell x is no object"),
        (("none.json",), "cannot read none.json"),
        (("torch.json", "mock.json", "--output", "mock.json"), "cannot write to mock.json"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    save(tmp_path / "torch.json", document(cell()))
    save(tmp_path / "small.json", small())
    save(tmp_path / "text.json", document(("x", "text")))  # type: ignore[arg-type]
    (tmp_path / "torn.json").write_bytes(MOCK.read_bytes()[:1000])
    shutil.copy(MOCK, tmp_path / "mock.json")
    done = perfkit(tmp_path, "trt-plots", *arguments)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "plots").exists()
