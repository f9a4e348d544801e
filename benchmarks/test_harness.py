"""What the harness itself costs: per round, per token, and before anything runs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from perfkit import cases
from perfkit.machine.clocks import round_clock
from perfkit.measurement.clock import DeviceClock

if TYPE_CHECKING:
    from pathlib import Path

_ROUNDS = 200
_CLOCK = DeviceClock()


@pytest.mark.benchmark(timer=_CLOCK)
def test_cost_of_a_round(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wall seconds a round takes around an engine that does nothing but stamp its 64 tokens.

    Everything counts: the prompts' ids, pedantic's bookkeeping, the clock and its stamps.
    """
    from perfkit.measurement.cell import measure
    from tests.measurement.fake_backend import fake_lab

    for name in ("torch-eager", "torch-compile"):
        monkeypatch.setitem(cases.BACKENDS, name, "tests.measurement.fake_backend")
    case = cases.Case.parse("torch-compile/llama-tiny/bf16/fmha/b8/p512/n64/tp1")
    lab = fake_lab(_CLOCK, rounds=_ROUNDS)
    wall_s: list[float] = []

    def timed(target: Any, *, setup: Any, rounds: int) -> None:
        start = time.perf_counter()
        benchmark.pedantic(target, setup=setup, rounds=rounds)
        wall_s.append(time.perf_counter() - start)

    result = measure(case, lab, lambda: timed)
    assert len(result.details["samples"]["e2e_s"]) == _ROUNDS
    benchmark.extra_info.update(cost_s=wall_s[0] / _ROUNDS, target_s=100e-6)


def _command(benchmark: Any, target_s: float, arguments: list[str], folder: Path) -> None:
    """Time a fresh process; the target is stated beside the figure, not asserted."""
    benchmark.extra_info["target_s"] = target_s
    benchmark.pedantic(
        lambda: subprocess.run(arguments, check=True, capture_output=True, cwd=folder),
        rounds=5,
        warmup_rounds=1,
    )


def test_help(benchmark: Any, tmp_path: Path) -> None:
    """``perfkit --help`` from process start to end."""
    code = "import sys; sys.argv[1:] = ['--help']; from perfkit.cli import main; main()"
    _command(benchmark, 0.5, [sys.executable, "-c", code], tmp_path)


def test_collection_of_a_thousand_cells(
    benchmark: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """``pytest --collect-only -q benchmarks`` over a 1,000-cell matrix."""
    text = """
    device = "cpu"
    [axes]
    backend = ["torch-eager", "torch-compile"]
    model = ["llama-tiny"]
    precision = ["fp32", "bf16"]
    attention = ["fmha"]
    batch = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    prompt_len = [1, 2, 3, 4, 5]
    new_tokens = [1, 2, 3, 4, 5]
    """
    matrix = tmp_path / "thousand.toml"
    matrix.write_text(text, encoding="utf-8")
    arguments = [sys.executable, "-m", "pytest", "--collect-only", "-q", "benchmarks"]
    _command(benchmark, 2.0, [*arguments, f"--perfkit-matrix={matrix}"], request.config.rootpath)


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")  # torch's compiler warns; a cell would record it
def test_tpot_under_the_harness_against_the_bare_loop(benchmark: Any) -> None:
    """The same compiled loop with and without stamps, interleaved; the ratio is the figure."""
    import torch

    from perfkit.backends import backend
    from perfkit.cases import Case
    from perfkit.inputs import models

    case = Case.parse("torch-compile/tinyllama-1.1b/bf16/fmha/b1/p128/n64/tp1")
    module = backend(case.backend)
    engine = module.build(module.load(case, models.find(case.model), "cuda"), case)
    ids = torch.randint(3, 30_000, (case.batch, case.prompt_len), device="cuda")
    clock = DeviceClock()
    clock.bind(round_clock("cuda", case.new_tokens))

    def bare() -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        engine.generate(ids, case.new_tokens, lambda: None)
        torch.cuda.synchronize()
        return time.perf_counter() - start

    def harnessed() -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        clock()
        engine.generate(ids, case.new_tokens, clock.stamp)
        clock()
        return time.perf_counter() - start

    for _ in range(3):
        bare()
        harnessed()
    pairs = [(bare(), harnessed()) for _ in range(20)]
    ratio = statistics.median(two for _, two in pairs) / statistics.median(one for one, _ in pairs)
    benchmark.extra_info.update(ratio=ratio, target_ratio=1.01, pairs=pairs)
    benchmark.pedantic(harnessed, rounds=5)
    engine.release()
