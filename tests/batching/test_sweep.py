from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit.batching import sweep
from perfkit.batching.continuous import NoProgressError, StepTime, TrtLlm, VllmLike
from perfkit.batching.continuous_point import Work
from perfkit.batching.fleet import Fleet
from perfkit.batching.job import Batches, Job, most_together, name
from perfkit.batching.loads import Closed, Length, Load, Replay, Share
from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.batching.service import Split
from perfkit.batching.sweep import Grid
from perfkit.batching.traces import Trace
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from perfkit.batching.job import AnyPolicy

TAU = np.array([0.0, *(0.012 + 0.0008 * b for b in range(1, 9))])
LIKE = Load("poisson", 1.0, 2_000)
BATCHES = Batches(TAU), "a table"
WORK = Work(StepTime(0.01, 1e-5), Length(64), Length(16)), "steps"
GRID = Grid(
    sweep.batching((8,), (0.0, 0.02)),
    (Share(0.3, LIKE), Share(0.99, LIKE)),
    BATCHES,
    seeds=3,
    slo_s=0.05,
)


def rows(grid: Grid) -> list[dict[str, str]]:
    done = [sweep.measure(job) for job in sweep.jobs(grid)]
    return list(csv.DictReader(io.StringIO(sweep.table([one.row for one in done]))))


def test_a_grid_is_every_policy_at_every_load() -> None:
    assert GRID.policies == (OneByOne(), Static(8), Dynamic(8, 0.0), Dynamic(8, 0.02))
    points = sweep.jobs(GRID)
    assert len(points) == 8
    assert points[2].policy == points[3].policy == Static(8)
    assert sweep.measure(points[2]).row["rate"] == pytest.approx(0.3 * 8 / TAU[8])


def test_every_point_is_a_row_of_the_table_with_theory_where_there_is_one() -> None:
    read = rows(GRID)
    assert len(read) == 8
    assert tuple(read[0]) == sweep.COLUMNS
    by_name = {(row["policy"], row["delay_us"], row["rho"][:4]): row for row in read}
    greedy = by_name["dynamic", "0.0", "0.3"]
    assert abs(float(greedy["theory_err"])) < 0.1
    assert greedy["stable"] == "True"
    assert by_name["dynamic", "0.0", "0.99"]["stable"] == "False"
    assert by_name["dynamic", "20000.0", "0.3"]["theory_wait"] == ""
    assert by_name["static", "", "0.3"]["mean_batch"] == "8.0"
    assert all(float(row["little_err"]) < 1e-9 for row in read)
    assert all(float(row["goodput"]) <= float(row["throughput"]) for row in read)
    # Nothing says how long a prefill takes, so nobody knows when first tokens come.
    assert all(row["ttft_p50"] == row["itl_p99"] == row["clients"] == "" for row in read)


def test_policies_of_every_kind_stand_in_one_table() -> None:
    split = Split(TAU / 4, TAU / 100)
    policies: tuple[AnyPolicy, ...] = (
        Dynamic(8, 0.01),
        Fleet(3, "power-of-d", 8, 0.01),
        VllmLike(8, 256, 1_000),
        TrtLlm("MAX_UTILIZATION", 8, 256, 1_000),
    )
    grid = Grid(policies, (Share(0.5, LIKE),), (Batches(TAU, split), "a table"), WORK, seeds=2)
    one, fleet, vllm, trt = rows(grid)
    assert [row["policy"] for row in (one, fleet, vllm, trt)] == [
        "dynamic", "dynamic", "vllm", "trtllm-max-utilization",
    ]  # fmt: skip
    assert (fleet["servers"], fleet["routing"], one["routing"]) == ("3", "power-of-d", "")
    assert (vllm["kv_blocks"], vllm["token_budget"], vllm["mean_batch"]) == ("1000", "256", "")
    assert float(vllm["output_tokens_per_s"]) == pytest.approx(16 * float(vllm["throughput"]))
    for row in (one, fleet, vllm, trt):
        assert float(row["rho"]) == pytest.approx(0.5)
        assert 0 < float(row["ttft_p50"]) <= float(row["ttft_p99"]) < float(row["lat_p99"])
        assert float(row["itl_mean"]) > 0
        assert row["stable"] == "True"
        assert float(row["little_err"]) < 1e-9


def test_a_closed_loops_rate_is_what_it_was_served_at() -> None:
    (row,) = rows(Grid((Dynamic(8),), (Closed(8, 400, 0.1, "fixed"),), BATCHES, seeds=2))
    assert (row["arrival"], row["clients"], row["think"]) == ("closed", "8", "fixed")
    assert row["rate"] == row["throughput"]
    assert row["cv"] == ""


def test_a_trace_is_one_run_without_intervals() -> None:
    ones = np.ones(200, np.int64)
    trace = Trace(np.arange(200) / 10, ones, ones, 0)
    batch, vllm = rows(
        Grid((Dynamic(8), VllmLike(8, 256, 1_000)), (Replay(trace, "t"),), BATCHES, WORK)
    )
    assert batch["seed_count"] == vllm["seed_count"] == "1"
    assert batch["lat_ci"] == batch["lat_p999"] == ""
    assert float(batch["rate"]) == pytest.approx(10)
    assert float(vllm["output_tokens_per_s"]) == pytest.approx(10, rel=0.01)


def test_what_cannot_be_simulated_is_a_row_that_says_why() -> None:
    never, works = rows(Grid((Static(8), Static(4)), (Closed(5, 200),), BATCHES, seeds=2))
    assert "never fills with 5 clients" in never["problem"]
    assert (never["policy"], never["max_batch"], never["clients"]) == ("static", "8", "5")
    assert never["stable"] == "False"
    assert never["lat_p99"] == works["problem"] == ""


def test_problems_of_open_loads_are_told_apart_and_lose_no_other() -> None:
    """Two blocks hold no request of 64 tokens; saturation, and so the rate, is then unknown."""
    loads = (Share(0.3, LIKE), Share(0.9, LIKE), LIKE)
    read = rows(Grid((VllmLike(8, 256, 2), Dynamic(8)), loads, BATCHES, WORK, seeds=2))
    assert ["too large" in row["problem"] for row in read] == [True] * 3 + [False] * 3
    assert [(row["rate"], row["rho"]) for row in read[:3]] == [
        ("", "0.3"),
        ("", "0.9"),
        ("1.0", ""),
    ]


@pytest.mark.parametrize(
    "error", [MemoryError(), OverflowError("too\nlarge"), NoProgressError("x")]
)
def test_whatever_fails_in_a_point_is_its_row(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: Job) -> None:
        raise error

    monkeypatch.setattr(sweep, "run", fail)
    (row, *_) = rows(GRID)
    assert row["problem"].startswith(f"{type(error).__name__}: ")
    assert "\n" not in row["problem"]


def test_a_policy_without_its_service_times_is_refused() -> None:
    with pytest.raises(UsageError, match="no service times for VllmLike"):
        sweep.jobs(Grid((VllmLike(8, 256, 1_000),), (Closed(5, 200),), BATCHES))
    with pytest.raises(UsageError, match=r"SLO 0\.0: expected finite seconds"):
        Job(Dynamic(8), LIKE, BATCHES[0], "a table", slo_s=0.0)


def test_kinds_have_the_names_of_the_command() -> None:
    assert name(TrtLlm("STATIC_BATCH", 7, 8, 9)) == "trtllm-static"
    assert most_together(TrtLlm("STATIC_BATCH", 7, 8, 9)) == 7
    assert most_together(OneByOne(max_batch=4)) == 1


def test_the_middle_batch_is_what_half_of_them_have_at_most() -> None:
    # Sizes 1, 1, 2, 4: two of four have at most 1.
    assert sweep.middle_batch(np.array([0, 2, 1, 0, 1])) == 1
    assert sweep.middle_batch(np.array([0, 1, 2, 0, 1])) == 2


@pytest.mark.parametrize("share", [-1.0, 0.0, float("nan"), float("inf")])
def test_a_load_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match=f"load {share}"):
        Share(share, LIKE)


def test_a_grid_without_points_is_refused() -> None:
    with pytest.raises(UsageError, match="policies is empty"):
        Grid((), (Share(0.5, LIKE),))
    with pytest.raises(UsageError, match="loads is empty"):
        Grid((Dynamic(8),), ())
