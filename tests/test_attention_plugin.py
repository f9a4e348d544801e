"""Whole sessions of the attention benchmark on a CPU, and its problem sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perfkit.attention_plan import load, named
from perfkit.errors import UsageError

BENCHMARK = Path(__file__).parents[1] / "benchmarks/test_attention.py"
PLUGINS = ("-p", "perfkit.pytest_plugin", "-p", "perfkit.attention_plugin")


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_judged_set_is_the_issue_s() -> None:
    judged = load("judged")
    assert judged.device == "gpu"
    square = [p for p in judged.problems if p.heads * p.head_dim == 2048 and not p.is_decode]
    assert len(square) == 24
    assert all(p.batch * p.q_len == 16384 for p in square)
    assert sum(p.is_decode for p in judged.problems) == 5
    assert set(named()) == {"judged", "tiny"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("device = 'tpu'\nproblems = ['x']", "expected 'cpu' or 'gpu'"),
        ("device = 'cpu'\nproblems = []", "expected a list of problem ids"),
        ("device = 'cpu'\nproblems = ['b1']", "not an attention problem"),
        ("device = 'cpu'\nproblem = ['b1']", "did you mean 'problems'"),
        ("device = ", "cannot be read as TOML"),
    ],
)
def test_a_wrong_set_is_refused_with_its_file(text: str, words: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError, match=words) as caught:
        load(str(path))
    assert str(path) in str(caught.value)


def test_an_unknown_set_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'judged'"):
        load("jugded")


def session(pytester: pytest.Pytester, *arguments: str) -> tuple[Any, dict[str, Any]]:
    pytester.makepyfile(test_attention=BENCHMARK.read_text(encoding="utf-8"))
    result = pytester.runpytest_subprocess(
        *PLUGINS, "-m", "cpu", "--benchmark-json=out.json", *arguments
    )
    path = pytester.path / "out.json"
    return result, json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def test_a_session_gives_every_cell_a_verdict_and_an_entry_to_what_ran(
    pytester: pytest.Pytester,
) -> None:
    mine = write(pytester.path, "device = 'cpu'\nproblems = ['fp32/causal/b1/h2/kv2/q9/k9/d16']\n")
    result, written = session(
        pytester, f"--perfkit-attention={mine}", "--perfkit-providers=math,torch-flash,flex",
        "--perfkit-journal=j.jsonl",
    )  # fmt: skip
    result.assert_outcomes(passed=4, skipped=2)
    result.stdout.fnmatch_lines(["*correctness, no speed*"])
    block = written["perfkit_attention"]
    prefix = "fp32/causal/b1/h2/kv2/q9/k9/d16"
    verdicts = {name: cell["verdict"] for name, cell in block["cells"].items()}
    assert verdicts == {
        f"{provider}/{prefix}/{cache}": "unsupported" if provider == "flex" else "ok"
        for provider in ("math", "torch-flash", "flex")
        for cache in ("cold", "hot")
    }
    assert block["session"]["interpreter"] is True
    assert block["ceilings"] is None
    names = [entry["name"] for entry in written["benchmarks"]]
    assert f"test_attention[torch-flash/{prefix}/cold]" in names
    assert len(names) == 4
    entry = written["benchmarks"][0]["extra_info"]
    assert entry["flop_per_s"] is None
    assert entry["verdict"] == "ok"
    assert block["cells"][f"math/{prefix}/cold"]["accuracy"]["ok"] is True
    journal = (pytester.path / "j.attention.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in journal] == list(block["cells"])


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--perfkit-providers=tritn", "*did you mean 'triton'*"),
        ("--perfkit-attention=tinny", "*did you mean 'tiny'*"),
    ],
)
def test_wrong_options_end_in_one_line(option: str, words: str, pytester: pytest.Pytester) -> None:
    result, _ = session(pytester, option)
    assert result.ret in {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.USAGE_ERROR}
    result.stdout.fnmatch_lines([words])
