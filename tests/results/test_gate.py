from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from perfkit.errors import UsageError
from perfkit.results import gate
from perfkit.results.gate import Rule, Series, fresh_runs, is_suspect, judge

RULE = Rule()
SCREENING = (1.000, 1.004, 1.002, 1.001, 1.003)
CONFIRMING = (1.000, 1.001, 1.002, 1.003, 1.004, 0.999, 0.998, 0.997, 1.005, 1.006)
WORSE = (1.050, 1.051, 1.052, 1.053, 1.049)
QUIET = Series("cell", "ttft_s", SCREENING, CONFIRMING, 1.002)


def verdict(series: Series, rule: Rule = RULE) -> str:
    return judge([series], rule)[0].verdict


def test_an_unchanged_figure_is_the_same_after_one_run() -> None:
    (found,) = judge([QUIET], RULE)
    assert found.verdict == gate.SAME
    assert found.runs == (5, 1)
    assert found.change == pytest.approx(0.0)
    assert found.interval is not None
    assert found.interval[0] < 0 < found.interval[1]
    assert found.p is None


def test_a_slower_figure_is_suspected_and_confirmed() -> None:
    slow = replace(QUIET, new=1.05)
    assert is_suspect(slow, RULE)
    (found,) = judge([replace(slow, fresh=WORSE)], RULE)
    assert found.verdict == gate.REGRESSED
    # All five above all ten: one of C(15, 5) = 3003 orders.
    assert found.p == pytest.approx(1 / 3003)
    assert found.change == pytest.approx(1.051 / 1.0015 - 1)
    assert found.interval is not None
    assert 0.04 < found.interval[0] < found.change < found.interval[1] < 0.06
    assert found.runs == (10, 5)


def test_a_faster_figure_is_improved() -> None:
    fast = replace(QUIET, new=0.95, fresh=tuple(x - 0.1 for x in WORSE))
    assert verdict(fast) == gate.IMPROVED


def test_a_rate_is_worse_when_it_falls() -> None:
    rates = {
        "screening": tuple(1 / x for x in SCREENING),
        "confirming": tuple(1 / x for x in CONFIRMING),
        "higher_is_better": True,
    }
    low = replace(QUIET, **rates, new=1 / 1.05, fresh=tuple(1 / x for x in WORSE))
    (found,) = judge([low], RULE)
    assert found.verdict == gate.REGRESSED
    assert found.change == pytest.approx(1.0015 / 1.051 - 1)
    assert found.interval is not None
    assert found.interval[0] < found.change < found.interval[1] < 0


def test_a_suspect_that_fresh_runs_do_not_confirm_is_the_same() -> None:
    assert verdict(replace(QUIET, new=1.05, fresh=(1.0, 1.001, 1.002, 1.003, 1.0))) == gate.SAME


def test_a_confirmed_change_under_the_limit_is_none() -> None:
    steady = replace(QUIET, new=1.05, fresh=tuple(x - 0.035 for x in WORSE))
    (found,) = judge([steady], RULE)
    assert found.p is not None
    assert found.p < 0.05
    assert found.verdict == gate.SAME


def test_a_suspect_without_fresh_runs_is_inconclusive() -> None:
    (found,) = judge([replace(QUIET, new=1.05)], RULE)
    assert found.verdict == gate.INCONCLUSIVE
    assert "looks worse, and no further run confirmed it" in str(found.reason)


def test_noise_that_hides_a_change_is_inconclusive_not_the_same() -> None:
    noisy = replace(QUIET, screening=(1.0, 1.1, 0.9, 1.05, 0.95), new=1.0)
    (found,) = judge([noisy], RULE)
    assert found.verdict == gate.INCONCLUSIVE
    assert found.detectable is not None
    # Over the screening runs' own range, 1.1 / 0.9 - 1.
    assert found.detectable > 0.2222
    assert verdict(noisy, Rule(detect=0.5)) == gate.SAME


def test_the_screen_suspects_beyond_the_limit_or_the_runs_own_range() -> None:
    assert gate.threshold(QUIET, RULE) == 0.02
    wide = replace(QUIET, screening=(1.0, 1.06, 1.03))
    assert gate.threshold(wide, RULE) == pytest.approx(0.06)
    assert not is_suspect(replace(wide, new=1.08), RULE)
    assert is_suspect(replace(wide, new=1.10), RULE)


def test_enough_runs_confirm_that_a_lone_change_can_be_found() -> None:
    # 5 runs against 10: no p under 1/3003; 0.05/m is that at m = 150.
    assert fresh_runs(10, 1, RULE) == 5
    assert fresh_runs(10, 150, RULE) == 5
    assert fresh_runs(10, 151, RULE) == 6
    # 5 against 3: 1/56, enough for two.
    assert fresh_runs(3, 2, RULE) == 5
    assert fresh_runs(3, 3, RULE) == 6


def test_many_suspects_are_judged_together() -> None:
    slightly = (0.9985, 1.0025, 1.0045, 1.0055, 1.0065)
    one = replace(QUIET, new=1.03, fresh=tuple(x * 1.021 for x in slightly))
    alone = judge([one], RULE)[0].p
    among = judge([one, *[replace(QUIET, new=1.03, fresh=CONFIRMING[:5])] * 9], RULE)[0].p
    assert alone is not None
    assert among is not None
    assert among > alone


@pytest.mark.parametrize(
    ("series", "words"),
    [
        (replace(QUIET, screening=()), "0 screening runs in the baseline, expected 3"),
        (replace(QUIET, confirming=(1.0,)), "1 confirming runs in the baseline, expected 3"),
        (replace(QUIET, new=math.nan), "the new run has no value of it"),
        (replace(QUIET, new=0.0), "holds 0.0, expected positive numbers"),
        (replace(QUIET, fresh=(1.0, -1.0)), "holds -1.0"),
        (replace(QUIET, screening=(1.0, math.inf, 1.0)), "holds inf"),
        (replace(QUIET, new=1002.0), "1002 against 1.002: another unit, or another workload"),
        (replace(QUIET, new=0.001), "another unit"),
    ],
)
def test_what_cannot_be_compared_is_invalid_and_says_why(series: Series, words: str) -> None:
    (found,) = judge([series], RULE)
    assert found.verdict == gate.INVALID
    assert words in str(found.reason)
    assert not is_suspect(series, RULE)


@pytest.mark.parametrize("rule", [{"q": 0}, {"q": 1}, {"limit": -1}, {"detect": 0}])
def test_a_rule_that_judges_nothing_is_refused(rule: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="expected a share over 0 and under 1"):
        Rule(**rule)


def test_a_large_change_that_too_few_runs_confirm_is_inconclusive() -> None:
    # 1 of C(12, 2) = 66 orders, adjusted over four suspects: 0.06.
    one = replace(QUIET, new=1.3, fresh=(1.3, 1.31))
    found = judge([one, *[replace(QUIET, new=1.3, fresh=CONFIRMING[:2])] * 3], RULE)
    assert found[0].verdict == gate.INCONCLUSIVE
    assert "too few runs confirm" in str(found[0].reason)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ((gate.SAME, gate.IMPROVED, gate.NEW), 0),
        ((gate.SAME, gate.REGRESSED, gate.INCONCLUSIVE), 1),
        ((gate.REGRESSED, gate.INVALID), 3),
        ((gate.SAME, gate.MISSING), 3),
        ((gate.SAME, gate.INCONCLUSIVE), 4),
        ((gate.NEW,), 3),
        ((), 3),
    ],
)
def test_exit_codes_and_their_precedence(verdicts: tuple[str, ...], code: int) -> None:
    assert gate.exit_code(verdicts) == code


def made_up(seed: int) -> list[Series]:
    """Series of every kind: quiet, noisy, changed either way, confirmed or not."""
    chance = random.Random(seed)

    def values(count: int, middle: float, noise: float) -> tuple[float, ...]:
        return tuple(middle * math.exp(chance.gauss(0, noise)) for _ in range(count))

    made = []
    for k in range(12):
        noise, shift = chance.choice((0.002, 0.01, 0.05)), chance.choice((1, 1, 1.05, 0.93))
        series = Series(
            f"cell{k}", "tpot_s", values(5, 1, noise), values(10, 1, noise),
            *values(1, shift, noise), higher_is_better=chance.random() < 0.3,
        )  # fmt: skip
        fresh = values(5, shift, noise) if is_suspect(series, RULE) else ()
        made.append(replace(series, fresh=fresh))
    return made


@pytest.mark.parametrize("seed", range(8))
def test_the_order_of_cells_does_not_matter(seed: int) -> None:
    series = made_up(seed)
    shuffled = random.Random(seed).sample(series, len(series))
    assert sorted(map(repr, judge(series, RULE))) == sorted(map(repr, judge(shuffled, RULE)))


@pytest.mark.parametrize("seed", range(8))
def test_scaling_both_sides_changes_no_verdict(seed: int) -> None:
    def scaled(series: Series, by: float) -> Series:
        parts = ("screening", "confirming", "fresh")
        grown = {part: tuple(by * x for x in getattr(series, part)) for part in parts}
        return replace(series, new=by * series.new, **grown)

    series = made_up(seed)
    plain, other = judge(series, RULE), judge([scaled(one, 1024.0) for one in series], RULE)
    assert [one.verdict for one in plain] == [one.verdict for one in other]
    assert [one.change for one in plain] == pytest.approx([one.change for one in other])


@pytest.mark.parametrize("seed", range(8))
def test_a_worse_sample_never_improves_a_verdict(seed: int) -> None:
    rank = {gate.IMPROVED: 0, gate.SAME: 1, gate.INCONCLUSIVE: 2, gate.REGRESSED: 3}
    for series in made_up(seed):
        by = 1 / 1.5 if series.higher_is_better else 1.5
        before = rank[verdict(series)]
        for k in range(len(series.fresh)):
            fresh = tuple(x * by if place == k else x for place, x in enumerate(series.fresh))
            assert rank[verdict(replace(series, fresh=fresh))] >= before
        if not series.fresh:
            # A worse run in the screen asks for confirmation; alone it is never good news.
            assert rank[verdict(replace(series, new=series.new * by))] >= before
