"""When requests come: seeded, and in step across rates, so configurations can be compared.

Every generator returns n times in seconds as float64, the first one gap after 0, never decreasing
(gaps below float64's resolution tie). For one seed the times at another rate are the same times,
scaled. All raise ValueError for rates or shapes that are negative, NaN or infinite, and for n
below 1. A closed loop has no arrivals of its own: the engines make them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perfkit.batching import seeds
from perfkit.batching.theory.values import not_negative, positive, whole

Floats = npt.NDArray[np.float64]


def deterministic(rate_per_s: float, n: int, seed: int = 0) -> Floats:
    """One request every 1 / rate seconds; ``seed`` changes nothing."""
    del seed
    positive(rate_per_s=rate_per_s)
    whole(n=n)
    return np.arange(1, n + 1, dtype=np.float64) / rate_per_s


def poisson(rate_per_s: float, n: int, seed: int) -> Floats:
    """Poisson process: exponential gaps."""
    positive(rate_per_s=rate_per_s)
    whole(n=n)
    return np.cumsum(seeds.stream(seed, seeds.GAPS).standard_exponential(n)) / rate_per_s


def gamma(rate_per_s: float, n: int, seed: int, *, cv: float) -> Floats:
    """Gamma gaps of coefficient of variation ``cv``: shape 1 / cv^2, as vLLM's burstiness.

    At cv 1 these are the very times of ``poisson``, at 0 those of ``deterministic``.
    """
    not_negative(cv=cv)
    if cv == 0:
        return deterministic(rate_per_s, n)
    positive(rate_per_s=rate_per_s)
    whole(n=n)
    gaps = seeds.stream(seed, seeds.GAPS).standard_gamma(cv**-2, n)
    return np.cumsum(gaps) * cv**2 / rate_per_s


def mmpp2(
    rate_per_s: float,
    n: int,
    seed: int,
    *,
    relative_rates: tuple[float, float],
    switch_per_s: tuple[float, float],
) -> Floats:
    """Poisson process whose rate switches between two phases, each kept for an exponential time.

    ``relative_rates`` are to each other as the phases' rates, which are scaled so that the mean
    over time is ``rate_per_s``; one may be 0. ``switch_per_s`` are the rates of leaving the first
    phase and the second; they do not scale with the rate. The first phase is drawn as often as
    it lasts. Unit-rate arrivals are mapped through the inverse of the integrated rate.
    """
    whole(n=n)
    rates = _phase_rates(rate_per_s, relative_rates, switch_per_s)
    work = np.cumsum(seeds.stream(seed, seeds.GAPS).standard_exponential(n))
    phases = seeds.stream(seed, seeds.PHASES)
    first = int(phases.random() >= switch_per_s[1] / sum(switch_per_s))
    order = [first, 1 - first]
    mean_s, phase_rates = 1 / np.array(switch_per_s)[order], np.array(rates)[order]
    pairs = 16 + int(work[-1] / float(mean_s @ phase_rates))
    stays = np.empty((0, 2))
    while True:
        stays = np.concatenate((stays, phases.standard_exponential((pairs, 2)) * mean_s))
        done = np.concatenate(([0.0], np.cumsum(stays * phase_rates)))
        if done[-1] > work[-1]:
            return np.interp(work, done, np.concatenate(([0.0], np.cumsum(stays))))


def _phase_rates(
    rate_per_s: float, relative_rates: tuple[float, float], switch_per_s: tuple[float, float]
) -> tuple[float, float]:
    """Return both phases' rates, in requests per second."""
    positive(rate_per_s=rate_per_s)
    for i in range(2):
        positive(**{f"switch_per_s[{i}]": switch_per_s[i]})
        not_negative(**{f"relative_rates[{i}]": relative_rates[i]})
    # The first phase lasts switch[1] of the whole, and the second switch[0].
    over = sum(switch_per_s)
    mean = (relative_rates[0] * switch_per_s[1] + relative_rates[1] * switch_per_s[0]) / over
    positive(mean_of_relative_rates=mean)
    scale = rate_per_s / mean
    return relative_rates[0] * scale, relative_rates[1] * scale
