from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from perfkit.batching.lengths import NEW_TOKENS, PROMPT_TOKENS
from perfkit.batching.loads import Bursts, Closed, Length, Load, Replay
from perfkit.batching.traces import Trace
from perfkit.errors import UsageError

BURSTS = Bursts((9.0, 1.0), (1.0, 4.0))


def test_bursts_have_the_mean_rate_and_the_phases_own_pace() -> None:
    """Nine to one, a fifth of the time in the first: dispersion of counts far over Poisson's."""
    times = Load("mmpp", 50.0, 100_000, bursts=BURSTS).times(1)
    assert len(times) / times[-1] == pytest.approx(50, rel=0.05)
    counts = np.histogram(times, bins=int(times[-1]))[0]
    assert counts.var() / counts.mean() > 10
    plain = Load("poisson", 50.0, 100_000).times(1)
    counts = np.histogram(plain, bins=int(plain[-1]))[0]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.1)


def test_thinking_is_seeded_and_scales_with_its_mean() -> None:
    first, again, other = (Closed(3, 1_000, 2.0).loop(seed).thinks_s for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.allclose(Closed(3, 1_000, 4.0).loop(1).thinks_s, 2 * first)
    assert first.mean() == pytest.approx(2.0, rel=0.1)
    assert set(Closed(3, 100, 2.0, "fixed").loop(1).thinks_s) == {2.0}
    assert not Closed(3, 100).loop(1).thinks_s.any()


def test_a_traces_rate_is_its_gaps() -> None:
    ones = np.ones(3, np.int64)
    assert Replay(Trace(np.array([0.0, 1.0, 4.0]), ones, ones, 0), "t").rate_per_s == 0.5
    assert Replay(Trace(np.zeros(3), ones, ones, 2), "t").rate_per_s == math.inf


def test_lengths_are_fixed_or_drawn() -> None:
    assert Length(7).draw(3, 1, of=PROMPT_TOKENS).tolist() == [7, 7, 7]
    assert f"{Length(7)}, {Length(100, 0.5)}" == "7, 100 (cv 0.5)"
    drawn = Length(100, 0.5).draw(50_000, 1, of=NEW_TOKENS)
    assert drawn.mean() == pytest.approx(100, rel=0.01)
    assert drawn.std() == pytest.approx(50, rel=0.03)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"process": "tides"}, "unknown arrival process 'tides'"),
        ({"rate_per_s": -1.0}, "rate -1.0"),
        ({"rate_per_s": math.nan}, "rate nan"),
        ({"cv": -0.5}, "cv -0.5"),
        ({"requests": 10}, "requests 10"),
        ({"process": "mmpp"}, "mmpp, and it alone, needs"),
        ({"bursts": BURSTS}, "mmpp, and it alone, needs"),
    ],
)
def test_a_load_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {"process": "gamma", "rate_per_s": 1.0, "requests": 100}
    with pytest.raises(UsageError, match=words):
        Load(**{**fields, **changes})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Bursts((0.0, 0.0), (1.0, 1.0)), "phase rates"),
        (lambda: Bursts((1.0, math.nan), (1.0, 1.0)), "phase rates"),
        (lambda: Bursts((1.0, 2.0), (1.0, 0.0)), "phase durations"),
        (lambda: Closed(0, 100), "clients 0"),
        (lambda: Closed(1, 100, -1.0), "think time -1.0"),
        (lambda: Closed(1, 100, math.nan), "think time nan"),
        (lambda: Closed(1, 100, 1.0, "deep"), "unknown kind of thinking 'deep'"),  # type: ignore[arg-type]
        (lambda: Closed(1, 99), "requests 99"),
        (lambda: Length(0), "0 tokens"),
        (lambda: Length(1.5), "1.5 tokens"),
        (lambda: Length(math.nan, 1.0), "nan tokens"),
        (lambda: Length(5, -1.0), "cv of lengths -1.0"),
    ],
)
def test_loads_and_lengths_that_cannot_be_are_refused(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()
