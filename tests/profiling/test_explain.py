from __future__ import annotations

from typing import Any

import pytest

from perfkit.errors import UsageError
from perfkit.profiling.explain import IDLE, OUTSIDE, moved, side


def cell(
    wall_s: float, classes: dict[str, float], window_s: float, status: str = "agrees", **case: Any
) -> dict[str, Any]:
    shape = {
        "backend": "torch-eager", "model": "llama2-7b", "precision": "bf16", "attention": "fmha",
        "batch": 1, "prompt_len": 128, "new_tokens": 32, "tp": 1,
    }  # fmt: skip
    phase = {
        "calls": 8, "launches": 100, "window_s": window_s, "busy_s": sum(classes.values()),
        "classes": classes,
    }  # fmt: skip
    return {
        "case": {**shape, **case},
        "verdict": "ok",
        "agreement": {"status": status},
        "metrics": {"ttft_s": 0.1, "tpot_s": wall_s},
        "profile": {"tool": "torch", "phases": {"decode": phase}},
    }


EAGER = cell(0.020, {"gemm": 0.004, "elementwise": 0.002}, 0.030)
COMPILED = cell(0.005, {"gemm": 0.0045, "norm": 0.0002}, 0.005, backend="torch-compile")


def test_what_moved_adds_up_to_the_measured_difference() -> None:
    found = moved(EAGER, COMPILED, "decode")
    assert sum(found.seconds.values()) == pytest.approx(0.005 - 0.020)
    assert list(found.seconds) == ["gemm", "norm", "elementwise", IDLE]
    assert found.seconds["gemm"] == pytest.approx(0.0005)
    assert found.seconds["norm"] == pytest.approx(0.0002)
    assert found.seconds["elementwise"] == pytest.approx(-0.002)
    # 14 ms idle of 20, and 0.3 of 5.
    assert found.seconds[IDLE] == pytest.approx(0.0003 - 0.014)
    assert found.a.window_s == pytest.approx(0.030)


def test_a_profile_that_shows_too_little_explains_nothing() -> None:
    with pytest.raises(UsageError, match=r"window is 80% of the measured 20 ms .*90% is needed"):
        side(cell(0.020, {"gemm": 0.016}, 0.016), "eager", "decode")
    side(cell(0.020, {"gemm": 0.016}, 0.0181), "eager", "decode")


def test_a_profile_that_lost_launches_explains_nothing() -> None:
    counted = cell(0.020, {"gemm": 0.016}, 0.020)
    counted["attention"] = {"decode": {"launches": 112}}
    with pytest.raises(UsageError, match="the profile has 100 of the 112 launches that were"):
        side(counted, "eager", "decode")
    counted["attention"] = {"decode": {"launches": 111}}
    assert side(counted, "eager", "decode").counted == 111


def test_on_a_cpu_operators_must_account_for_the_time_and_the_rest_is_python() -> None:
    made = cell(0.020, {"gemm": 0.0178}, 0.040)
    made["profile"]["device"] = "cpu"
    with pytest.raises(UsageError, match="operators account for 89% of the measured 20 ms"):
        side(made, "eager", "decode")
    made = cell(0.020, {"gemm": 0.0182}, 0.040)
    made["profile"]["device"] = "cpu"
    found = side(made, "eager", "decode")
    assert found.classes[OUTSIDE] == pytest.approx(0.0018)
    assert IDLE not in found.classes


def test_two_of_the_same_arm_are_told_apart() -> None:
    found = moved(EAGER, EAGER, "decode")
    assert [side.name[-4:] for side in (found.a, found.b)] == [" (A)", " (B)"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"classes": {"gemm": 0.004, "weird": 0.002}}, "the class 'weird', which is none of fmha"),
        ({"classes": {"gemm": 0.004}}, "add up to 0.004 s, and busy_s is 0.006"),
        ({"window_s": True}, "window_s is True, expected a number over 0"),
        ({"calls": "x"}, "calls is 'x', expected a number over 0"),
    ],
)
def test_a_row_that_cannot_be_is_refused(changed: dict[str, Any], words: str) -> None:
    phase = {**EAGER["profile"]["phases"]["decode"], **changed}
    with pytest.raises(UsageError, match=words):
        side({**EAGER, "profile": {"phases": {"decode": phase}}}, "eager", "decode")


def test_kernels_that_ran_longer_than_the_whole_was_are_of_another_run() -> None:
    with pytest.raises(UsageError, match="ran 120% of the measured 20 ms"):
        side(cell(0.020, {"gemm": 0.024}, 0.025), "eager", "decode")


def test_other_work_and_outputs_that_do_not_agree_are_refused() -> None:
    with pytest.raises(UsageError, match="not the same work: batch 1 and 8"):
        moved(EAGER, cell(0.02, {"gemm": 0.02}, 0.02, batch=8), "decode")
    with pytest.raises(UsageError, match=r"were not shown to agree .diverged."):
        moved(EAGER, cell(0.02, {"gemm": 0.02}, 0.02, status="diverged"), "decode")


def test_a_cell_without_the_phase_says_why() -> None:
    with pytest.raises(UsageError, match="no profile of its prefill: perfkit profile takes"):
        moved(EAGER, COMPILED, "prefill")
    bare = {**EAGER, "profile": {"tool": "torch", "absent": "no kernel ran"}}
    with pytest.raises(UsageError, match="no profile of its decode: no kernel ran"):
        moved(bare, COMPILED, "decode")


def test_each_phase_must_have_been_steady_itself() -> None:
    rounds = {"ttft_s": [0.100, 0.101, 0.1], "itl_s": [[0.02, 0.02], [0.03, 0.03], [0.02, 0.02]]}
    told = cell(0.020, {"gemm": 0.019}, 0.020)
    prefill = {
        "calls": 1, "launches": 9, "window_s": 0.1, "busy_s": 0.09, "classes": {"gemm": 0.09}
    }  # fmt: skip
    decode = told["profile"]["phases"]["decode"]
    for verdict in ("ok", "unstable"):
        shaky = {
            **told, "verdict": verdict, "reason": "rounds vary by 20%", "samples": rounds,
            "profile": {"phases": {"decode": decode, "prefill": prefill}},
        }  # fmt: skip
        assert side(shaky, "eager", "prefill").classes[IDLE] == pytest.approx(0.01)
        # 20, 30 and 20 ms: a deviation of 5.77 ms over a mean of 23.3.
        with pytest.raises(UsageError, match=r"the decode of its rounds varies by 24\.7%"):
            side(shaky, "eager", "decode")
    with pytest.raises(UsageError, match="throttled"):
        side({**shaky, "verdict": "throttled"}, "eager", "prefill")
    with pytest.raises(UsageError, match="eager is unstable: rounds vary by 20%; measure it again"):
        side({**shaky, "samples": {}}, "eager", "prefill")
