"""Which bin of ``perfkit.batching.histogram`` a time belongs to, for the engines' inner loops.

Import it lazily: it imports numba.
"""

import math

from perfkit.batching.compiling import njit
from perfkit.batching.histogram import BINS, BINS_PER_E, LEAST_S

_PER_E = float(BINS_PER_E)
_LOG_LEAST = math.log(LEAST_S)
_LAST = BINS - 1


@njit(cache=True, inline="always")
def bin_index(x):
    if x < LEAST_S:
        return 0
    return min(int((math.log(x) - _LOG_LEAST) * _PER_E) + 1, _LAST)
