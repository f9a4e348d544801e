"""The one Markov chain under all models that look at a queue whenever a service starts.

From n requests, min(n, c) of which are served together, each of these leaves with probability p,
and a Poisson number joins: n' = n - Bin(min(n, c), p) + Poisson(m(min(n, c))).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

# A dense solve of this many takes seconds and 400 MB.
MAX_STATES = 5000
# Twice the states change a mean by less than this, so the second such mean is off by its square.
_SETTLED = 1e-8
# Steps of the chain after the solve: sums of positive terms, which clear rare states of its noise.
_STEPS = 16


@dataclass(frozen=True)
class Law:
    """A stationary law: ``probability`` of each of ``states``; after the last, times ``ratio``."""

    states: Floats
    probability: Floats
    ratio: float

    def expect(self, values: Floats) -> float:
        """Mean of ``values``, one a state; linear in the state from the last two on."""
        slope = values[-1] - values[-2]
        r = self.ratio
        beyond = values[-1] * r / (1 - r) + slope * r / (1 - r) ** 2
        return float(self.probability @ values + self.probability[-1] * beyond)

    @overload
    def above(self, state: float) -> float: ...
    @overload
    def above(self, state: npt.NDArray[np.int_]) -> Floats: ...
    def above(self, state: float | npt.NDArray[np.int_]) -> float | Floats:
        """Probability of more than ``state``."""
        r, first, last = self.ratio, self.states[0], self.states[-1]
        end = self.probability[-1] * r / (1 - r)
        # sums[i] is the probability of the last i states and all beyond.
        sums = end + np.concatenate(([0.0], np.cumsum(self.probability[::-1])))
        kept = np.clip(last - state, 0, last - first + 1).astype(int)
        found = np.where(state > last, end * r ** np.maximum(state - last, 0.0), sums[kept])
        return found if isinstance(state, np.ndarray) else float(found)


def stationary(joining: Floats, *, leave: float = 1.0, idle: bool = False) -> Law:
    """Return the stationary law of the chain above; the caller has checked that it is stable.

    ``joining[k]`` is the mean of those who join while k are served, k up to c = len - 1; ``leave``
    is p. With ``idle`` the service of nobody takes its time too (a clock); without, an empty
    system waits for an arrival, and its next state is 1.

    Exact: from c on the law is a sum of geometric ones, of which the slowest closes the equations
    (Tijms, A First Course in Stochastic Models, section 3.5.2), and states are added until that
    is all there is. Raises ValueError when this takes more than MAX_STATES.
    """
    cap = len(joining) - 1
    ratio = _ratio(cap, leave, float(joining[-1]))
    more = 32 + 4 * math.isqrt(cap)
    mean = math.inf
    while cap + more <= MAX_STATES:
        law = _solve(joining, leave, ratio, cap + more, idle=idle)
        before, mean = mean, law.expect(law.states)
        if abs(mean - before) <= _SETTLED * mean:
            return law
        more *= 2
    raise ValueError(
        f"batches of up to {cap} need more than {MAX_STATES} states for an exact answer: "
        "ask for a smaller maximum batch, or simulate"
    )


def _ratio(cap: int, leave: float, joining: float) -> float:
    """Return r < 1 with (1 - p + p r)^c exp(m (1/r - 1)) = 1: how fast the tail falls."""
    from scipy import optimize

    def log_moment(over: float) -> float:  # of the step, at z = 1 + over = 1 / r
        left = -math.log1p(over) if leave == 1 else math.log1p(-leave * over / (1 + over))
        return cap * left + joining * over

    low = high = 1.0
    while log_moment(low) >= 0:
        low /= 2
    while log_moment(high) <= 0:
        high *= 2
    return 1 / (1 + float(optimize.brentq(log_moment, low, high, xtol=1e-300, rtol=1e-15)))


def _solve(joining: Floats, leave: float, ratio: float, last: int, *, idle: bool) -> Law:
    first = 0 if idle else 1
    moves = _moves(joining, leave, ratio, last)
    if not idle:
        moves[:, 1] += moves[:, 0]
    moves = moves[first:, first:]
    equations = moves.T - np.eye(len(moves))
    equations[-1] = 1.0
    equations[-1, -1] = 1 / (1 - ratio)
    one = np.zeros(len(moves))
    one[-1] = 1.0
    found = np.maximum(np.linalg.solve(equations, one), 0.0)
    for _ in range(_STEPS):
        found = found @ moves
    found /= np.sum(found[:-1]) + found[-1] / (1 - ratio)
    return Law(np.arange(first, last + 1, dtype=np.float64), found, ratio)


def _moves(joining: Floats, leave: float, ratio: float, last: int) -> Floats:
    """Probabilities of going from one state to another, the last standing for all after it."""
    from scipy import stats

    cap = len(joining) - 1
    moves = np.zeros((last + 1, last + 1))
    came = np.arange(last + 1)
    for served in range(cap + 1):
        join = stats.poisson.pmf(came, joining[served])
        if leave < 1:
            left = stats.binom.pmf(np.arange(served + 1), served, 1 - leave)
            join = np.convolve(left, join)[: last + 1]
        moves[served] = join
    step = moves[cap]  # of those served together; everybody else stays
    for state in range(cap + 1, last + 1):
        moves[state, state - cap :] = step[: last + 1 - (state - cap)]
    for beyond in range(1, cap + 1):
        stay = last + beyond - cap
        moves[last, stay:] += ratio**beyond * step[: last + 1 - stay]
    return moves
