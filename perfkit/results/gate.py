"""The regression gate: values of runs in, verdicts out. No files, no clocks.

A run is one fresh process; rounds within it are no replicates. Each cell's figure is screened with
one new run; what looks changed is confirmed with further runs against baseline runs that the
screening did not use: exact Mann-Whitney, Benjamini-Hochberg over all that were confirmed, and a
change over the limit. docs/regression-gate.md has the measured error rates.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")
REGRESSED, IMPROVED, SAME = "REGRESSED", "IMPROVED", "SAME"
INCONCLUSIVE, INVALID, NEW, MISSING = "INCONCLUSIVE", "INVALID", "NEW", "MISSING"
# What exits with which code, first match first; 2 is wrong use.
NOT_JUDGED = 3
EXIT_CODES = ((NOT_JUDGED, {INVALID, MISSING}), (1, {REGRESSED}), (4, {INCONCLUSIVE}))
LEAST_RUNS = 3  # of either part of a baseline
_UNITS_APART = 50.0  # more than this is another unit or another workload, not a regression
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Rule:
    """When a change counts.

    ``limit``: a smaller change is none. ``detect``: the change that a cell must be able to show
    before it is called SAME, with probability ``power``. ``q``: the share of false ones that is
    accepted among changes (Benjamini and Hochberg). ``fresh``: runs that confirm, at least.
    ``share``: how much of the screening runs' own range a new run may lie off unsuspected.
    """

    limit: float = 0.02
    detect: float = 0.05
    q: float = 0.05
    power: float = 0.8
    fresh: int = 5
    share: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what would judge nothing, or never end."""
        for name, low in (("limit", -1e-12), ("detect", 0), ("q", 0), ("power", 0)):
            value = getattr(self, name)
            if not low < value < 1:
                raise UsageError(f"{name} {value:g}: expected a share over 0 and under 1")


@dataclass(frozen=True)
class Series:
    """One figure of one cell, one value a run, all positive.

    ``screening`` and ``confirming`` are baseline runs, no run in both. ``new`` is the run that
    screens, ``fresh`` those that confirm. ``statistic`` tells what a value is of a run's rounds.
    """

    cell: str
    metric: str
    screening: tuple[float, ...]
    confirming: tuple[float, ...]
    new: float
    fresh: tuple[float, ...] = ()
    higher_is_better: bool = False
    statistic: str = "median"


@dataclass(frozen=True)
class Judgement:
    """The verdict on one figure of one cell.

    ``change`` is new ÷ baseline - 1 of the figure itself (+0.05: 5 % more of it), ``interval`` its
    95 % interval over runs, ``detectable`` the smallest change, to the worse, that would have been
    seen; ``runs`` counts the baseline's and the new ones that were compared; ``p`` is adjusted.
    ``statistic`` tells what a run's value is of its rounds: the best, or the median.
    """

    cell: str
    metric: str
    verdict: str
    reason: str | None = None
    change: float | None = None
    interval: tuple[float, float] | None = None
    detectable: float | None = None
    runs: tuple[int, int] = (0, 0)
    p: float | None = None
    statistic: str | None = None


def exit_code(verdicts: Iterable[str]) -> int:
    """Return 0 where all is SAME, IMPROVED or NEW, else the code of the worst; nothing at all: 3.

    Precedence: 3 (INVALID, MISSING, no cell in common), 1 (REGRESSED), 4 (INCONCLUSIVE), 0.
    """
    found = set(verdicts)
    if not found - {NEW}:
        return NOT_JUDGED
    return next((code for code, verdicts in EXIT_CODES if found & verdicts), 0)


def is_suspect(series: Series, rule: Rule) -> bool:
    """Whether the new run lies further from the screening runs than they let expect."""
    return _problem(series) is None and abs(_screened(series)) > threshold(series, rule)


def threshold(series: Series, rule: Rule) -> float:
    """Return the relative change, to the worse, at which the screen suspects a figure.

    Formula: the limit, or the rule's share of the screening runs' range (largest ÷ smallest - 1) if
    that is more.
    """
    costs = _costs(series, series.screening)
    return max(rule.limit, rule.share * (max(costs) / min(costs) - 1))


def fresh_runs(confirming: int, suspects: int, rule: Rule) -> int:
    """Return how many runs must confirm, so that one change among ``suspects`` can be found.

    A rank test of K stored and F fresh runs has no p below 1 ÷ C(K+F, F); Benjamini and Hochberg
    ask a lone change for q ÷ suspects.
    """
    count = rule.fresh
    while math.comb(confirming + count, count) * rule.q < suspects:
        count += 1
    return count


def judge(series: Sequence[Series], rule: Rule) -> list[Judgement]:
    """Return a verdict on every series, in their order.

    Those that ``is_suspect`` need ``fresh`` runs; without enough of them they are INCONCLUSIVE.
    """
    asked = [s for s in series if s.fresh and _problem(s) is None]
    tests = both_ways(asked, _p)
    return [_verdict(s, rule, tests.get(id(s)), len(asked)) for s in series]


def both_ways(asked: Sequence[T], p: Callable[[T, str], float]) -> dict[int, tuple[float, float]]:
    """Return the adjusted p of each one's cost being greater, and less, by the one's identity.

    Adjusted by Benjamini and Hochberg's procedure, each way over all of them.
    """
    from scipy import stats

    if not asked:
        return {}
    worse, better = (
        stats.false_discovery_control([p(one, way) for one in asked]) for way in ("greater", "less")
    )
    return {id(one): (float(a), float(b)) for one, a, b in zip(asked, worse, better, strict=True)}


def _verdict(series: Series, rule: Rule, tests: Sequence[float] | None, suspects: int) -> Judgement:
    problem = _problem(series)
    if problem is not None:
        return Judgement(series.cell, series.metric, INVALID, problem)
    if tests is None:
        return _from_screen(series, rule)
    base, fresh = _costs(series, series.confirming), _costs(series, series.fresh)
    cost = statistics.median(fresh) / statistics.median(base) - 1
    detectable = detectable_change(base, len(fresh), rule)
    enough = len(fresh) >= fresh_runs(len(base), suspects, rule)
    verdict, reason, p = settle(cost, tests, detectable, rule, enough=enough)
    return Judgement(
        series.cell, series.metric, verdict, reason,
        change=own_change(cost, series.higher_is_better),
        interval=own_interval(interval_of(base, fresh), series.higher_is_better),
        detectable=detectable, runs=(len(base), len(fresh)), p=p, statistic=series.statistic,
    )  # fmt: skip


def settle(
    cost: float, tests: Sequence[float], detectable: float, rule: Rule, *, enough: bool
) -> tuple[str, str | None, float]:
    """Return verdict, reason and p of a change of cost, from its two one-sided, adjusted p.

    ``enough``: as many runs confirmed as the test needs to find a lone change.
    """
    worse, better = tests
    if cost > rule.limit and worse <= rule.q:
        return REGRESSED, None, worse
    if cost < -rule.limit and better <= rule.q:
        return IMPROVED, None, better
    p = min(worse, better)
    if abs(cost) > (rule.detect if enough else rule.limit):
        few = "" if enough else "too few runs confirm: "
        return INCONCLUSIVE, f"{few}a change of {abs(cost):.1%} that may be chance", p
    return unchanged(detectable, rule), None, p


def unchanged(detectable: float, rule: Rule) -> str:
    """Return SAME where a change that matters would have been seen, else INCONCLUSIVE."""
    return SAME if detectable <= rule.detect else INCONCLUSIVE


def _from_screen(series: Series, rule: Rule) -> Judgement:
    cost = _screened(series)
    screening = _costs(series, series.screening)
    detectable = threshold(series, rule) + above(rule.power, screening, 1)
    verdict, reason = unchanged(detectable, rule), None
    if is_suspect(series, rule):
        verdict = INCONCLUSIVE
        reason = f"looks {'worse' if cost > 0 else 'better'}, and no further run confirmed it"
    half = above((1 + CONFIDENCE) / 2, _costs(series, (*series.screening, *series.confirming)), 1)
    low, high = ((1 + cost) * math.exp(end) - 1 for end in (-half, half))
    return Judgement(
        series.cell, series.metric, verdict, reason,
        change=own_change(cost, series.higher_is_better),
        interval=own_interval((low, high), series.higher_is_better),
        detectable=detectable, runs=(len(series.screening), 1), statistic=series.statistic,
    )  # fmt: skip


def _problem(series: Series) -> str | None:
    """Say why these values cannot be compared."""
    parts = {"screening": series.screening, "confirming": series.confirming}
    for name, values in parts.items():
        if len(values) < LEAST_RUNS:
            return f"{len(values)} {name} runs in the baseline, expected {LEAST_RUNS} at least"
    if math.isnan(series.new):
        return "the new run has no value of it"
    everything = (*series.screening, *series.confirming, series.new, *series.fresh)
    bad = [value for value in everything if not (math.isfinite(value) and value > 0)]
    if bad:
        return f"holds {bad[0]}, expected positive numbers"
    middle = statistics.median((*series.screening, *series.confirming))
    factor = max(series.new / middle, middle / series.new)
    if factor > _UNITS_APART:
        return f"{series.new:.4g} against {middle:.4g}: another unit, or another workload"
    return None


def _costs(series: Series, values: Iterable[float]) -> tuple[float, ...]:
    """Return values of which smaller is better."""
    return tuple(1 / value if series.higher_is_better else value for value in values)


def own_change(cost: float, higher_is_better: bool) -> float:
    """Return a figure's own change for a change of its cost."""
    return 1 / (1 + cost) - 1 if higher_is_better else cost


def own_interval(
    ends: tuple[float, float] | None, higher_is_better: bool
) -> tuple[float, float] | None:
    """Return an interval of a figure's own change for one of its cost, if there is one."""
    if ends is None:
        return None
    low, high = (own_change(end, higher_is_better) for end in ends)
    return min(low, high), max(low, high)


def _screened(series: Series) -> float:
    """Return the new run's cost over the median of the screening runs, less 1."""
    (new,) = _costs(series, (series.new,))
    return new / statistics.median(_costs(series, series.screening)) - 1


def _p(series: Series, way: str) -> float:
    """Return the exact one-sided p of fresh costs being "greater" or "less" than stored ones."""
    from scipy import stats

    base, fresh = _costs(series, series.confirming), _costs(series, series.fresh)
    return float(stats.mannwhitneyu(fresh, base, alternative=way, method="exact").pvalue)


def detectable_change(costs: Sequence[float], count: float, rule: Rule) -> float:
    """Return the change that ``count`` runs would show, with the rule's power, as over the limit.

    A normal approximation: what the test needs at level q (the limit, if more), plus what chance
    may hide of it.
    """
    return max(rule.limit, above(1 - rule.q, costs, count)) + above(rule.power, costs, count)


def above(share: float, costs: Sequence[float], count: float) -> float:
    """Return how far, relatively, the mean of ``count`` runs like these stays below in that share.

    An infinite count leaves the uncertainty of these runs' own mean.

    Formula: t(share; n-1) · sd of the logarithms · sqrt(1/count + 1/n), Student's t of scipy.
    """
    from scipy import stats

    logs = [math.log(cost) for cost in costs]
    n = len(logs)
    return float(stats.t.ppf(share, n - 1) * statistics.stdev(logs) * math.sqrt(1 / count + 1 / n))


def interval_of(base: Sequence[float], fresh: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the medians' change: runs resampled, percentiles, seeded.

    None where either side is a single run.
    """
    if min(len(base), len(fresh)) < 2:
        return None
    import numpy as np
    from scipy import stats

    def change(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(np.median(b, axis=axis) / np.median(a, axis=axis) - 1)

    found = stats.bootstrap(
        (base, fresh), change, vectorized=True, confidence_level=CONFIDENCE,
        n_resamples=2000, method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
