"""How long requests are: fixed or drawn; those of a trace come with it (``traces``).

Lengths are int64 token counts of at least 1. Both functions raise ValueError for a mean below 1
and other numbers that are negative, NaN or infinite.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from perfkit.batching import seeds
from perfkit.batching.seeds import NEW_TOKENS, PROMPT_TOKENS
from perfkit.batching.theory.values import not_negative, whole

Tokens = npt.NDArray[np.int64]
__all__ = ["NEW_TOKENS", "PROMPT_TOKENS", "fixed", "lognormal"]

# A request's tokens at most; no model's context is near it, and sums of them stay whole numbers.
MOST_TOKENS = 10_000_000


def fixed(tokens: int, n: int) -> Tokens:
    """``n`` requests of ``tokens`` tokens, MOST_TOKENS at most."""
    whole(tokens=tokens, n=n)
    return np.full(n, tokens, dtype=np.int64)


def lognormal(mean: float, cv: float, n: int, seed: int, *, of: int) -> Tokens:
    """Lognormal lengths of that mean and coefficient of variation, rounded, from 1 to MOST_TOKENS.

    sigma^2 = log(1 + cv^2), mu = log(mean) - sigma^2 / 2. Rounding up to 1 raises the mean where
    it is small. ``of`` is PROMPT_TOKENS or NEW_TOKENS, which have streams of their own.
    """
    whole(n=n)
    not_negative(cv=cv)
    if not (math.isfinite(mean) and mean >= 1):
        raise ValueError(f"mean must be finite and 1 or more, got {mean!r}")
    variance = math.log1p(cv**2)
    normal = seeds.stream(seed, of).standard_normal(n)
    drawn = np.exp(math.log(mean) - variance / 2 + math.sqrt(variance) * normal)
    return np.clip(np.rint(drawn), 1, MOST_TOKENS).astype(np.int64)
