"""data/mock: what its script makes, and nothing that could pass for a measurement."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from perfkit.cases import Case
from perfkit.results.store import read, synthetic

ROOT = Path(__file__).resolve().parents[1]
MOCK = ROOT / "data/mock/metrics_trtllm_synthetic.json"
README_PICTURE = "baselines/nvidia-h200_*/*/0001_llama2-7b.json"


def test_the_committed_file_is_what_its_script_makes() -> None:
    made = runpy.run_path(str(ROOT / "benchmarks/make_mock.py"))
    assert made["text"]() == MOCK.read_text(encoding="utf-8")


def test_it_is_a_result_file_that_says_what_it_is() -> None:
    document = read(MOCK)
    assert synthetic(document) == "benchmarks/make_mock.py"
    assert document["perfkit"]["machine"]["key"] == "synthetic"
    assert "SYNTHETIC" in document["perfkit"]["machine"]["name"]
    assert document["benchmarks"] == []
    cells = document["perfkit"]["cells"]
    assert {cell["agreement"]["status"] for cell in cells.values()} == {"unchecked"}
    assert all(Case(**cell["case"]).id == name for name, cell in cells.items())


def test_its_figures_follow_from_its_rounds() -> None:
    for cell in read(MOCK)["perfkit"]["cells"].values():
        samples = cell["samples"]
        for ttft, steps, e2e in zip(
            samples["ttft_s"], samples["itl_s"], samples["e2e_s"], strict=True
        ):
            assert ttft + sum(steps) == pytest.approx(e2e)
        assert cell["metrics"]["e2e_s"] == sorted(samples["e2e_s"])[2]


def test_its_shapes_are_those_of_the_picture_in_the_readme() -> None:
    (stored,) = ROOT.glob(README_PICTURE)
    shapes = [
        {
            tuple(cell["case"][key] for key in ("batch", "prompt_len", "new_tokens"))
            for cell in json.loads(path.read_text(encoding="utf-8"))["perfkit"]["cells"].values()
            if cell["case"]["precision"] == "bf16"
        }
        for path in (stored, MOCK)
    ]
    assert shapes[0] == shapes[1]
