"""Independent random streams from one seed: what one draw is asked for changes no other."""

from __future__ import annotations

import numpy as np

GAPS, PHASES, PROMPT_TOKENS, NEW_TOKENS, THINKS, ROUTES = range(6)


def stream(seed: int, of: int) -> np.random.Generator:
    """Return the PCG64 generator of stream ``of`` under ``seed``, by SeedSequence's spawn keys.

    Configurations of the same seed thus share their random numbers, also where one draws lengths
    and another does not. Raises ValueError for a negative seed.
    """
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed!r}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(of,))))
