from __future__ import annotations

from typing import Any

import pytest

from perfkit.results.ablation import ablate
from tests.reporting.documents import cell

PLAIN_KERNELS = {"softmax_warp_forward": 32}
FUSED_KERNELS = {"flash_fwd_kernel": 32}


def arm(
    attention: str, kernels: dict[str, int], *, tpot_s: float = 0.02, **how: Any
) -> tuple[str, dict[str, Any]]:
    name, body = cell(attention=attention, status="agrees", **how)
    ran = {"class": "flash" if kernels is FUSED_KERNELS else "materialised",
           "attention_kernels": kernels}  # fmt: skip
    body["attention"] = {"requested": attention, "prefill": ran, "decode": ran}
    if body["metrics"]:
        body["metrics"] |= {"ttft_s": 0.1, "tpot_s": tpot_s, "e2e_s": 0.1 + 63 * tpot_s,
                            "output_tokens_per_s": 8 * 64 / (0.1 + 63 * tpot_s)}  # fmt: skip
    return name, body


def document(*cells: tuple[str, dict[str, Any]], key: str = "gpu-a") -> dict[str, Any]:
    return {"perfkit": {"schema": 1, "machine": {"key": key}, "cells": dict(cells)}}


def run(fused_tpot_s: float, **how: Any) -> dict[str, Any]:
    fused = arm("fmha", FUSED_KERNELS, tpot_s=fused_tpot_s)
    return document(arm("nofmha", PLAIN_KERNELS), fused, **how)


def test_arms_are_paired_within_a_run_and_the_interval_is_over_runs() -> None:
    (pair,) = ablate([run(0.0200), run(0.0160), run(0.0180)])
    change = pair.changes["tpot_s"]
    assert pair.refused is None
    assert change.value == pytest.approx(-0.1)
    assert change.runs == 3
    assert change.interval is not None
    # Logarithms 0, ln 0.8 and ln 0.9: mean -0.10950, sd 0.11182, t(0.975; 2) = 4.3027.
    assert change.interval == pytest.approx((-0.3211, 0.1832), abs=1e-3)
    assert pair.actual == {
        "prefill": ("materialised", "flash"),
        "decode": ("materialised", "flash"),
    }


def test_one_run_has_no_interval() -> None:
    (pair,) = ablate([run(0.018)])
    assert pair.changes["tpot_s"].interval is None


def test_runs_of_two_machines_are_never_put_together() -> None:
    first, second = ablate([run(0.018), run(0.016, key="gpu-b")])
    assert (first.machine, second.machine) == ("gpu-a", "gpu-b")
    assert first.changes["tpot_s"].runs == 1


def test_arms_that_ran_the_same_kernels_are_refused_by_name() -> None:
    both = document(arm("nofmha", PLAIN_KERNELS), arm("fmha", PLAIN_KERNELS, tpot_s=0.01))
    (pair,) = ablate([both])
    assert pair.refused == "both arms ran the same attention kernels: softmax_warp_forward"
    assert pair.changes == {}
    assert pair.more_tokens is None


def test_an_arm_that_was_not_measured_is_refused_with_its_reason() -> None:
    broken = document(arm("nofmha", PLAIN_KERNELS, verdict="oom"), arm("fmha", FUSED_KERNELS))
    (pair,) = ablate([broken])
    assert pair.refused == "nofmha: oom: oom: made up for a test"


def test_an_arm_whose_rounds_vary_too_much_is_refused_in_a_lone_run() -> None:
    shaky = document(arm("nofmha", PLAIN_KERNELS), arm("fmha", FUSED_KERNELS, verdict="unstable"))
    (pair,) = ablate([shaky])
    assert pair.refused == "fmha: unstable: unstable: made up for a test"
    # Of two runs the interval tells how much they vary.
    (kept,) = ablate([shaky, run(0.018)])
    assert (kept.refused, kept.changes["tpot_s"].runs) == (None, 2)


def test_kernels_are_named_by_todays_rules() -> None:
    name, fused = arm("fmha", {"fmha_v2_flash_attention_bf16_sm90_kernel": 32})
    fused["attention"]["prefill"] = {**fused["attention"]["prefill"], "class": "unknown"}
    (pair,) = ablate([document(arm("nofmha", PLAIN_KERNELS), (name, fused))])
    assert pair.actual["prefill"] == ("materialised", "trtllm-fmha")


def test_a_nofmha_arm_that_ran_a_fused_kernel_is_refused() -> None:
    other = {"fmha_cutlass": 32}
    (pair,) = ablate([document(arm("nofmha", FUSED_KERNELS), arm("fmha", other))])
    assert pair.refused == "nofmha ran flash: it is not without fused attention"


def test_arms_of_different_runs_are_no_pair() -> None:
    apart = [document(arm("nofmha", PLAIN_KERNELS)), document(arm("fmha", FUSED_KERNELS))]
    (pair,) = ablate(apart)
    assert pair.refused == "no session measured both arms"


def test_arms_of_two_sessions_of_one_file_are_no_pair() -> None:
    made = run(0.018)
    plain, fused = made["perfkit"]["cells"].values()
    plain["session"], fused["session"] = "a", "b"
    (pair,) = ablate([made])
    assert pair.refused == "no session measured both arms"


def test_a_copy_of_a_file_is_no_second_run() -> None:
    made = run(0.018)
    for body in made["perfkit"]["cells"].values():
        body["session"] = "a"
    (pair,) = ablate([made, made])
    assert pair.changes["tpot_s"].runs == 1
    assert pair.changes["tpot_s"].interval is None


def test_runs_of_two_commits_or_two_ways_of_measuring_are_refused() -> None:
    first, second = run(0.018), run(0.016)
    first["commit_info"], second["commit_info"] = {"id": "a" * 40}, {"id": "b" * 40}
    (pair,) = ablate([first, second])
    assert pair.refused == "runs of 2 commits (aaaaaaaaaaaa, bbbbbbbbbbbb): give those of one"
    second["commit_info"] = first["commit_info"]
    second["perfkit"]["session"] = {"rounds": 9}
    (pair,) = ablate([first, second])
    assert pair.refused == "runs measured in 2 ways: give those of one"


def test_every_provider_is_held_against_nofmha() -> None:
    flash, efficient = (
        arm(f"fmha={name}", FUSED_KERNELS) for name in ("torch-flash", "torch-efficient")
    )
    pairs = ablate([document(arm("nofmha", PLAIN_KERNELS), flash, efficient)])
    assert [pair.case["attention"] for pair in pairs] == [
        "fmha=torch-efficient",
        "fmha=torch-flash",
    ]


def test_an_interval_over_the_limit_leaves_the_quoted_gain_open() -> None:
    (pair,) = ablate([run(0.0150), run(0.0149), run(0.0160)])
    assert pair.lower_latency is None


@pytest.mark.parametrize(("tpot_s", "holds"), [(0.0150, True), (0.0155, False)])
def test_the_quoted_gain_is_judged_with_a_fifth_of_tolerance(tpot_s: float, holds: bool) -> None:
    (pair,) = ablate([run(tpot_s)])
    assert pair.lower_latency is holds
