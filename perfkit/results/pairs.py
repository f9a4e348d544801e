"""Two versions judged by interleaved pairs of runs: drift of the machine meets both alike."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.results.gate import (
    CONFIDENCE,
    INCONCLUSIVE,
    INVALID,
    Judgement,
    Rule,
    both_ways,
    detectable_change,
    own_change,
    own_interval,
    settle,
    unchanged,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SCREENING = 3  # pairs over all cells, before the suspects are confirmed


@dataclass(frozen=True)
class Pairs:
    """One figure of one cell: cost of the new version over the old one's, once a pair of runs.

    A cost is a figure of which less is better, or one over a figure of which more is better.
    ``screening`` pairs covered all cells, ``fresh`` ones confirm a suspect.
    """

    cell: str
    metric: str
    screening: tuple[float, ...]
    fresh: tuple[float, ...] = ()
    higher_is_better: bool = False
    statistic: str = "median"


def is_suspect(pairs: Pairs, rule: Rule) -> bool:
    """Whether the screening pairs' median change, to the worse or better, is over the limit."""
    return _problem(pairs) is None and abs(statistics.median(pairs.screening) - 1) > rule.limit


def needed(suspects: int, rule: Rule) -> int:
    """Return how many pairs must confirm: a signed-rank test of n pairs has no p below 2**-n."""
    return max(rule.fresh + 3, math.ceil(math.log2(max(1, suspects) / rule.q)))


def judge(pairs: Sequence[Pairs], rule: Rule) -> list[Judgement]:
    """Return a verdict on each: exact signed ranks, Benjamini-Hochberg, a change over the limit."""
    asked = [one for one in pairs if one.fresh and _problem(one) is None]
    tests = both_ways(asked, _p)
    return [_verdict(one, rule, tests.get(id(one)), len(asked)) for one in pairs]


def _verdict(pairs: Pairs, rule: Rule, tests: Sequence[float] | None, suspects: int) -> Judgement:
    problem = _problem(pairs)
    if problem is not None:
        return Judgement(pairs.cell, pairs.metric, INVALID, problem)
    ratios, better = pairs.fresh or pairs.screening, pairs.higher_is_better
    cost, p = statistics.median(ratios) - 1, None
    detectable = detectable_change(ratios, math.inf, rule)
    if tests is not None:
        verdict, reason, p = settle(
            cost, tests, detectable, rule, enough=len(ratios) >= needed(suspects, rule)
        )
    elif is_suspect(pairs, rule):
        verdict, reason = INCONCLUSIVE, "looks changed, and no further pair confirmed it"
    else:
        verdict, reason = unchanged(detectable, rule), None
    return Judgement(
        pairs.cell, pairs.metric, verdict, reason,
        change=own_change(cost, better), interval=own_interval(_interval(ratios), better),
        detectable=detectable, runs=(len(ratios), len(ratios)), p=p, statistic=pairs.statistic,
    )  # fmt: skip


def _problem(pairs: Pairs) -> str | None:
    """Say why these values cannot be compared."""
    if len(pairs.screening) < SCREENING:
        return f"{len(pairs.screening)} screening pairs, expected {SCREENING} at least"
    bad = [one for one in (*pairs.screening, *pairs.fresh) if not (math.isfinite(one) and one > 0)]
    return f"holds the ratio {bad[0]}, expected positive numbers" if bad else None


def _p(pairs: Pairs, way: str) -> float:
    """Return the exact one-sided p of the new version's cost being "greater" or "less"."""
    from scipy import stats

    logs = [math.log(ratio) for ratio in pairs.fresh]
    # Where all pairs are equal there is nothing to rank.
    return float(stats.wilcoxon(logs, alternative=way, method="exact").pvalue) if any(logs) else 1.0


def _interval(ratios: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the median change: pairs resampled, percentiles, seeded."""
    if len(ratios) < 2:
        return None
    import numpy as np
    from scipy import stats

    found = stats.bootstrap(
        (np.asarray(ratios) - 1,), np.median, confidence_level=CONFIDENCE, n_resamples=2000,
        method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)
