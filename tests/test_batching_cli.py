from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from perfkit.batching.service import Service
from tests.reporting.documents import cell, document
from tests.test_cli import perfkit

MOCK = Path(__file__).resolve().parents[1] / "data/mock/metrics_trtllm_synthetic.json"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    shapes = itertools.product((1, 8, 32), (128, 512))
    made = document(*(cell(batch=batch, prompt=prompt) for batch, prompt in shapes))
    (tmp_path / "r.json").write_text(json.dumps(made), encoding="utf-8")
    return tmp_path


def test_a_fit_is_printed_with_its_errors_and_written(results: Path) -> None:
    done = perfkit(results, "batching", "fit", "r.json", "--output", "out/service.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("6 cells, up to batch 32, prompt 512, ")
    assert done.stdout.count("unseen cells: off by ") == 2
    written = Service.from_json(json.loads((results / "out/service.json").read_text()))
    assert written.batch == 32


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["r.json", "--arm", "colour=blue"], "--arm colour=blue: expected NAME=VALUE with one of"),
        (["r.json", "--arm", "backend=nobody"], "no cell of verdict ok for backend nobody"),
        ([str(MOCK)], "is synthetic"),
        (["nobody.json"], "cannot read nobody.json"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(results: Path, arguments: list[str], words: str) -> None:
    done = perfkit(results, "batching", "fit", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
