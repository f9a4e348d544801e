from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from perfkit.batching.estimate import Estimate
from perfkit.batching.job import Batches, Job, run
from perfkit.batching.loads import Load
from perfkit.batching.policies import OneByOne
from perfkit.batching_commands.simulate import table
from tests.here import perfkit

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

FEW = ("--requests", "1000", "--seeds", "3")
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def simulate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return perfkit(folder, "batching", "simulate", *arguments)


def result(folder: Path, *arguments: str) -> dict[str, Any]:
    done = simulate(folder, *arguments, "--json", "out.json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return found


def test_a_clock_by_hand_is_printed_and_written(tmp_path: Path) -> None:
    """Ten a second, each alone for 12 + 0.8 ms."""
    asked = (*FEW, "--arrival", "deterministic", "--rate", "10", "--slo-ms", "12")
    # Nothing is drawn, so ten seeds would be ten times the same.
    done = simulate(tmp_path, *asked, "--json", "out.json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "dynamic 16, delay 0 ms"
    assert lines[1] == "deterministic arrivals at 10/s; 1000 requests, one run, so no interval"
    (latency,) = [line for line in lines if line.startswith("latency ")]
    # p99.9 needs a thousand requests, and the first fifty are left out.
    assert latency.split() == ["latency", *(["12.8"] * 5), "-"]
    (first,) = [line for line in lines if line.startswith("TTFT ")]
    assert first.split() == ["TTFT", *"------"]
    assert any(line.startswith("goodput") and line.endswith(" 0/s") for line in lines)
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["figures"]["latency_p99"] == {
        "mean": pytest.approx(0.0128),
        "half": None,
    }
    assert found["figures"]["latency_p999"] == {"mean": None, "half": None}
    assert (found["rate_per_s"], found["seeds"], found["slo_s"]) == (10.0, 1, 0.012)


def test_the_same_rate_is_a_share_of_saturation(tmp_path: Path) -> None:
    """At most 16 together: 16 in 24.8 ms."""
    by_share = result(tmp_path, *FEW, "--load", "0.5")
    assert by_share["rate_per_s"] == pytest.approx(0.5 * 16 / 0.0248)
    by_rate = result(tmp_path, *FEW, "--rate", repr(by_share["rate_per_s"]))
    assert by_rate["figures"] == by_share["figures"]


def test_a_fit_gives_first_tokens_and_steps(tmp_path: Path) -> None:
    fit = {"prefill": [0.01, 0, 0], "step": [0.002, 0, 0], "batch": 8, "prompt_len": 512,
           "context": 640, "prefill_error": None, "step_error": None}  # fmt: skip
    (tmp_path / "fit.json").write_text(json.dumps(fit))
    asked = ("--arrival", "deterministic", "--rate", "1", "--service", "fit.json", "--new", "11")
    figures = result(tmp_path, *FEW, *asked)["figures"]
    assert figures["ttft_mean"]["mean"] == pytest.approx(0.01)
    assert figures["itl_p99"]["mean"] == pytest.approx(0.002)
    assert figures["latency_mean"]["mean"] == pytest.approx(0.01 + 10 * 0.002)


@pytest.mark.parametrize(
    ("policy", "extra"),
    [
        ("static", ("--at-end", "strand")),
        ("dynamic", ("--delay-ms", "5", "--preferred", "4", "--timeout-ms", "60", "--max-queue",
                     "9")),
        ("one-by-one", ("--instances", "3")),
        ("vllm", ("--prompt-cv", "1", "--async-scheduling", "--no-chunked-prefill",
                  "--token-budget", "9000", "--max-model-len", "9000")),
        ("trtllm-no-evict", ("--chunk-unit", "64", "--chunking", "EQUAL_PROGRESS")),
        ("trtllm-max-utilization", ("--kv-blocks", "200", "--block-size", "16", "--max-batch",
                                    "8")),
        ("trtllm-static", ("--new-cv", "0.5")),
    ],
)  # fmt: skip
def test_every_policy_takes_its_own_options(
    tmp_path: Path, policy: str, extra: tuple[str, ...]
) -> None:
    found = result(tmp_path, *FEW, "--policy", policy, *extra, "--load", "0.5")
    assert found["policy"] == policy
    assert found["stable"]
    assert found["little_error"] < 1e-9
    continuous = policy.startswith(("vllm", "trtllm"))
    assert ("preemptions" in found["figures"]) == continuous
    assert (found["batch_sizes"] is None) == continuous


@pytest.mark.parametrize(
    "arrival",
    [
        ("poisson",),
        ("gamma", "--cv", "3"),
        ("mmpp", "--phase-rates", "4", "1", "--phase-s", "0.1", "0.3"),
    ],
)
def test_open_arrivals_of_every_kind(tmp_path: Path, arrival: tuple[str, ...]) -> None:
    found = result(tmp_path, "--requests", "4000", "--rate", "200", "--arrival", *arrival)
    assert found["arrival"] == arrival[0]
    assert found["figures"]["throughput_per_s"]["mean"] == pytest.approx(200, rel=0.15)


@pytest.mark.parametrize("policy", ["static", "vllm"])
def test_a_closed_loop_is_as_fast_as_it_is_answered(tmp_path: Path, policy: str) -> None:
    asked = ("--arrival", "closed", "--clients", "16", "--think", "fixed", "--think-ms", "100")
    found = result(tmp_path, *FEW, "--policy", policy, *asked)
    stay = found["figures"]["latency_mean"]["mean"]
    assert found["rate_per_s"] == pytest.approx(16 / (0.1 + stay), rel=0.05)
    assert (found["clients"], found["think_s"]) == (16, 0.1)


def test_a_fleet_has_its_replicas(tmp_path: Path) -> None:
    found = result(tmp_path, *FEW, "--replicas", "4", "--routing", "shortest", "--load", "0.5")
    assert found["servers"] == 4
    assert found["rate_per_s"] == pytest.approx(0.5 * 4 * 16 / 0.0248)


def test_an_azure_trace_is_replayed_with_its_lengths_and_without_an_interval(
    tmp_path: Path,
) -> None:
    """Two at one time and one ten seconds later: 2, 2 and 3 new tokens."""
    rows = "2023-11-16 18:15:40,4,2\n2023-11-16 18:15:40,4,2\n2023-11-16 18:15:50,4,3\n"
    (tmp_path / "azure.csv").write_text(AZURE + rows)
    step = ("--step-ms", "1000", "--token-us", "0", "--context-ns", "0")
    asked = ("--arrival", "trace", "--trace", "azure.csv", "--policy", "vllm", *step)
    done = simulate(tmp_path, *asked, "--json", "out.json")
    assert done.returncode == 0, done.stderr
    assert "3 requests, one run, so no interval" in done.stdout
    assert "1 at the very time of the one before" in done.stdout
    assert "lengths are the trace's" in done.stdout
    assert "prompt 512" not in done.stdout
    figures = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert figures["latency_mean"] == {"mean": pytest.approx((2 + 2 + 3) / 3), "half": None}
    assert figures["ttft_mean"]["mean"] == pytest.approx(1.0)
    whole = simulate(tmp_path, "--arrival", "trace", "--trace", "azure.csv")
    assert "lengths of the trace are not used" in whole.stdout


def test_what_is_too_large_for_the_kv_pool_is_counted_and_nothing_hangs(tmp_path: Path) -> None:
    asked = ("--policy", "vllm", "--kv-blocks", "40", "--prompt-cv", "1", "--max-batch", "4")
    found = result(tmp_path, *FEW, *asked, "--rate", "1")
    assert 0 < found["figures"]["reject_rate"]["mean"] < 1


def test_wide_cells_do_not_run_together() -> None:
    job = Job(OneByOne(), Load("deterministic", 1.0, 100), Batches(np.array([0.0, 0.5])), "given")
    found = run(job)
    wide = dict.fromkeys(found.figures, Estimate(1234.567, 98765.4))
    (latency,) = [
        line for line in table(replace(found, figures=wide), job) if line.startswith("latency ")
    ]
    assert re.split(r"\s{2,}", latency) == ["latency", *["1.235e+06 +- 9.9e+07"] * 6]


def test_an_infinite_delay_is_null_in_json(tmp_path: Path) -> None:
    found = result(tmp_path, *FEW, "--delay-ms", "inf")
    assert found["delay_us"] is None
    assert "delay_s=inf" in found["described"]


def test_an_unstable_load_is_flagged(tmp_path: Path) -> None:
    done = simulate(tmp_path, *FEW, "--load", "1.5")
    assert done.returncode == 0
    assert "NOT STEADY" in done.stdout


def test_those_who_are_never_served_are_told(tmp_path: Path) -> None:
    """900 of 1000 fill three batches; 50 of the first are left out."""
    asked = ("--policy", "static", "--max-batch", "300", "--at-end", "strand")
    figures = result(tmp_path, *FEW, *asked)["figures"]
    assert figures["stranded_rate"]["mean"] == pytest.approx(100 / 950)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--policy", "psychic"], "unknown policy 'psychic'"),
        (["--rate", "-1"], "rate -1.0: expected requests/s"),
        (["--rate", "nan"], "rate nan: expected requests/s"),
        (["--rate", "5", "--load", "0.5"], "--rate and --load both say the rate"),
        (["--load", "nan"], "load nan"),
        (["--delay-ms", "-1"], "--delay-ms -1.0: expected a number, 0 or more"),
        (["--delay-ms", "nan"], "--delay-ms nan"),
        (["--max-batch", "-3"], "--max-batch -3"),
        (["--preferred", "99"], "preferred 99: expected a whole number from 1 to 16"),
        (["--policy", "vllm", "--kv-blocks", "0"], "--kv-blocks 0"),
        (["--policy", "vllm", "--kv-blocks", "3"], "every request is rejected as too large"),
        (["--policy", "vllm", "--step-ms", "nan"], "--step-ms nan"),
        (["--policy", "vllm", "--prompt", "0"], "0 tokens"),
        (["--policy", "vllm", "--new-cv", "-1"], "cv of lengths -1.0"),
        (["--policy", "vllm", "--service", "fit.json"], "--service: of whole batches alone"),
        (["--policy", "vllm", "--timeout-ms", "5"], "--timeout-ms is no option of vllm"),
        (["--prompt-cv", "1"], "--prompt-cv: of continuous batching alone"),
        (["--service", "fit.json", "--base-ms", "5"], "both say how long a batch takes"),
        (["--service", "fit.json", "--new", "0"], "--new 0: expected from 1 to 10000000 tokens"),
        (["--prompt", "7", "--new", "7"], "--prompt and --new: without --service FIT.json"),
        (["--arrival", "trace", "--trace", "x", "--policy", "vllm", "--prompt", "7"],
         "--prompt is of poisson"),
        (["--arrival", "trace", "--trace", "x", "--policy", "vllm", "--new-cv", "7"],
         "--new-cv is of poisson"),
        (["--policy", "one-by-one", "--max-batch", "64"], "--max-batch is no option of one-by-one"),
        (["--timeout-action", "delay"], "--timeout-action does nothing without --timeout-ms"),
        (["--policy", "trtllm-static", "--chunking", "EQUAL_PROGRESS"],
         "--chunking does nothing without --chunk-unit"),
        (["--at-end", "strand"], "--at-end is of batches that may never fill"),
        (["--timeout-ms", "0"], "--timeout-ms 0.0"),
        (["--policy", "vllm", "--step-ms", "-3"], "--step-ms -3.0: expected a number, 0 or more"),
        (["--policy", "trtllm-static", "--block-size", "0"], "--block-size 0"),
        (["--policy", "trtllm-static", "--token-budget", "0"], "--token-budget 0"),
        (["--policy", "vllm", "--max-batch", "0"], "--max-batch 0"),
        (["--policy", "vllm", "--max-model-len", "100"], "too large for max_model_len 100"),
        (["--policy", "vllm", "--no-chunked-prefill", "--token-budget", "100"],
         "too large for the token budget of a step, without chunks"),
        (["--arrival", "gamma", "--cv", "1e200"], "cv 1e+200: expected 0, or from"),
        (["--arrival", "gamma", "--cv", "1e-200"], "cv 1e-200"),
        (["--policy", "vllm", "--prompt-cv", "1e200"], "cv of lengths 1e+200"),
        (["--policy", "vllm", "--prompt", "1" + "0" * 23], "expected from 1 to 10000000 tokens"),
        (["--policy", "vllm", "--kv-blocks", "1" + "0" * 23], "--kv-blocks 1000"),
        (["--policy", "vllm", "--max-batch", "1000000000000"], "--max-batch 1000000000000"),
        (["--max-batch", "1000000000"], "--max-batch 1000000000"),
        (["--requests", "100000000000"], "requests 100000000000: expected from 100 to 20000000"),
        (["--arrival", "closed", "--clients", "100000000000"], "expected from 1 to 1000000"),
        (["--replicas", "1000000000"], "--replicas is 1000000000"),
        (["--arrival", "mmpp", "--phase-rates", "4", "1", "--phase-s", "1e-12", "1e-12"],
         "phases so short are Poisson"),
        (["--arrival", "gamma", "--cv", "nan"], "cv nan"),
        (["--cv", "2"], "--cv is of gamma, and arrivals are poisson"),
        (["--arrival", "mmpp"], "mmpp needs --phase-rates and --phase-s"),
        (["--arrival", "closed"], "--arrival closed needs --clients"),
        (["--arrival", "closed", "--clients", "0"], "clients 0"),
        (["--arrival", "closed", "--clients", "2", "--think-ms", "-1"], "think time -0.001"),
        (["--arrival", "closed", "--clients", "2", "--rate", "5"], "--rate is of poisson"),
        (["--arrival", "closed", "--clients", "2", "--max-queue", "5"],
         "a closed loop with max_queue"),
        (["--arrival", "closed", "--clients", "2", "--replicas", "5"], "a fleet in a closed loop"),
        (["--arrival", "closed", "--clients", "2", "--policy", "static"],
         "never fills with 2 clients"),
        (["--arrival", "trace", "--requests", "500"], "--requests is of poisson"),
        (["--arrival", "trace"], "--arrival trace needs --trace FILE"),
        (["--arrival", "trace", "--trace", "none.csv"], "no trace at none.csv"),
        (["--arrival", "trace", "--trace", "empty.csv"], "has columns and no rows"),
        (["--arrival", "trace", "--trace", "short.csv"], "lacks column GeneratedTokens"),
        (["--arrival", "trace", "--trace", "back.csv"], "runs backwards at row 2"),
        (["--slo-ms", "0"], "SLO 0.0"),
        (["--requests", "5"], "requests 5"),
        (["--json", "empty.csv/x.json"], "cannot write to empty.csv"),
        (["--json", "."], "cannot write to .: it is a folder"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line(tmp_path: Path, arguments: list[str], words: str) -> None:
    (tmp_path / "empty.csv").write_text(AZURE)
    (tmp_path / "short.csv").write_text("TIMESTAMP,ContextTokens\n2023-11-16 18:15:40,4\n")
    rows = "2023-11-16 18:15:40,4,2\n2023-11-16 18:15:30,4,2\n"
    (tmp_path / "back.csv").write_text(AZURE + rows)
    done = simulate(tmp_path, *arguments)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
