"""Attention cells with providers and a device made for the purpose."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import pytest
import torch

from perfkit.attention import registry
from perfkit.attention.problem import Problem
from perfkit.attention.provider import Provider
from perfkit.attention.reference import reference
from perfkit.measurement.attention import AttentionCell, Outcome, measure_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.measurement.bench import Timed

PROBLEM = Problem.parse("bf16/causal/b2/h2/kv1/q8/k8/d16")


def right(q: Any, k: Any, v: Any, causal: bool, scale: float) -> torch.Tensor:
    return reference(q, k, v, causal, scale).to(q.dtype)


def provider(name: str, run: Any = right, **changes: Any) -> Provider:
    fields = {
        "source": "made for the test",
        "layout": "bhsd",
        "kernels": f"{name}_kernel",
        "unavailable": lambda _device: None,
        "unsupported": lambda _problem: None,
    }
    return Provider(name=name, run=run, **(fields | changes))


class FakeBench:
    """A device on which a call takes as long as the script says, and which notes who ran when."""

    device = torch.device("cpu")
    times_mean_something = True

    def __init__(self, script: dict[str, Callable[[int], float]] | None = None) -> None:
        self.script = script or {}
        self.order: list[tuple[str, str]] = []
        self.ran: dict[str, int] = {}
        self.poisoned = 0

    def poison(self, like: torch.Tensor) -> None:
        self.poisoned += like.numel()

    def wait(self) -> None:
        pass

    def kernels(self, call: Callable[[], object]) -> dict[str, int]:
        call()
        return dict(self.ran)

    def before(self, call: Callable[[], object], cache: str) -> Callable[[], object]:
        del call
        return lambda: cache

    def rounds(self, turns: Sequence[Timed]) -> int:
        del turns
        return 3

    def round(self, turns: Sequence[Timed]) -> list[float]:
        seconds = []
        for turn in turns:
            name, cache = str(turn.call.__closure__), str(turn.before())
            self.order.append((name, cache))
            seconds.append(1e-3)
        return seconds


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def register(*providers: Provider) -> None:
        table = {one.name: one for one in providers}
        monkeypatch.setattr(registry, "provider", table.__getitem__)

    return register


def test_an_id_is_provider_problem_and_cache() -> None:
    cell = AttentionCell("triton", PROBLEM, "cold")
    assert cell.id == "triton/bf16/causal/b2/h2/kv1/q8/k8/d16/cold"


def test_rates_are_work_over_the_median_of_both_takes() -> None:
    outcome = Outcome("ok", None, ((1e-3, 2e-3), (3e-3, 4e-3)))
    figures = outcome.to_json(PROBLEM)
    assert figures["median_s"] == 2.5e-3
    assert figures["take_medians_s"] == [1.5e-3, 3.5e-3]
    assert figures["flop_per_s"] == (4 * 2 * 2 * 8 * 8 * 16 / 2) / 2.5e-3
    assert figures["kv_bytes_per_s"] == (2 * 2 * 1 * 8 * 16 * 2) / 2.5e-3
    assert figures["rounds"] == 4


def test_what_was_not_timed_has_no_rate() -> None:
    for outcome in (Outcome("oom", "too large"), Outcome("ok", None, ((1.0,),), has_speed=False)):
        figures = outcome.to_json(PROBLEM)
        assert figures["median_s"] is figures["flop_per_s"] is figures["kv_bytes_per_s"] is None


def test_everyone_takes_turns_round_by_round_and_twice(known: Any) -> None:
    known(provider("one", kernels="k"), provider("two", kernels="k"))
    bench = FakeBench()
    bench.ran = {"k": 1}
    outcomes = measure_problem(PROBLEM, ["one", "two"], bench)
    assert {key: len(one.takes_s) for key, one in outcomes.items()} == {
        ("one", "cold"): 2, ("one", "hot"): 2, ("two", "cold"): 2, ("two", "hot"): 2,
    }  # fmt: skip
    assert all(len(take) == 3 for one in outcomes.values() for take in one.takes_s)
    # A warm-up round, then two takes of three rounds, each of all four turns in the same order.
    assert len(bench.order) == 4 * (1 + 2 * 3)
    assert bench.order == bench.order[:4] * 7
    assert [cache for _, cache in bench.order[:4]] == ["cold", "hot", "cold", "hot"]
    assert bench.poisoned == 2 * 2 * 2 * 8 * 16


def test_takes_that_disagree_are_unstable(known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    known(provider("one"))
    bench = FakeBench()
    bench.ran = {"one_kernel": 1}
    times = iter([1.0, 1.0] + [1.00, 1.0] * 3 + [1.03, 1.01] * 3)
    monkeypatch.setattr(bench, "round", lambda turns: [next(times) for _ in turns])
    outcomes = measure_problem(PROBLEM, ["one"], bench)
    assert outcomes["one", "cold"].verdict == "unstable"
    assert "differ by 3.0%" in str(outcomes["one", "cold"].reason)
    assert outcomes["one", "hot"].verdict == "ok"
    assert statistics.median(outcomes["one", "cold"].samples_s) == pytest.approx(1.015)


def crash(*_: Any) -> torch.Tensor:
    raise RuntimeError("illegal instruction\nand more")


def too_large(*_: Any) -> torch.Tensor:
    raise torch.OutOfMemoryError("tried to allocate 60 GiB")


def unwritten(q: Any, k: Any, v: Any, causal: bool, scale: float) -> torch.Tensor:
    out = right(q, k, v, causal, scale)
    out[1, 1, 3] = float("nan")
    return out


def unmasked(q: Any, k: Any, v: Any, _causal: bool, scale: float) -> torch.Tensor:
    return right(q, k, v, False, scale)


@pytest.mark.parametrize(
    ("broken", "verdict", "words"),
    [
        (provider("bad", crash), "crash", "RuntimeError: illegal instruction"),
        (provider("bad", too_large), "oom", "60 GiB"),
        (provider("bad", unwritten), "diverged", "unwritten or NaN"),
        (provider("bad", unmasked), "diverged", "relative L2"),
        (provider("bad", kernels="other"), "unsupported", "other kernels ran: bad_kernel"),
        (provider("bad", unavailable=lambda _: "no such GPU"), "unsupported", "no such GPU"),
        (provider("bad", unsupported=lambda _: "too long"), "unsupported", "too long"),
    ],
)
def test_what_is_wrong_has_its_verdict_and_the_others_are_timed(
    broken: Provider, verdict: str, words: str, known: Any
) -> None:
    known(broken, provider("good", kernels="bad_kernel"))
    bench = FakeBench()
    bench.ran = {"bad_kernel": 1}
    outcomes = measure_problem(PROBLEM, ["bad", "good"], bench)
    for cache in ("cold", "hot"):
        assert outcomes["bad", cache].verdict == verdict
        assert words in str(outcomes["bad", cache].reason)
        assert not outcomes["bad", cache].samples_s
        assert outcomes["good", cache].verdict == "ok"
        assert len(outcomes["good", cache].samples_s) == 6
