from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from perfkit.batching import requests
from perfkit.batching.dynamic import simulate
from perfkit.batching.policies import Dynamic, Static
from perfkit.errors import UsageError

SERVICE = [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("arrivals", "named"),
    [
        ([], "no arrivals"),
        ([0.0, 2.0, 1.0], "arrival 1: 1.0: comes before"),
        ([-1.0], "arrival 0: -1.0"),
        ([0.0, math.nan], "arrival 1: nan"),
        ([math.inf], "arrival 0: inf"),
        (["soon"], "arrival_s: "),
        ([[0.0]], "arrival_s has 2 dimensions"),
    ],
)
def test_arrivals_that_are_none_are_named(arrivals: list[Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        simulate(Dynamic(2), arrivals, SERVICE)


@pytest.mark.parametrize(
    ("service", "named"),
    [
        ([0.0, 1.0], "2 times: expected 3"),
        ([0.0, 1.0, 0.0], "service time 2: 0.0"),
        ([0.0, math.nan, 1.0], "service time 1: nan"),
    ],
)
def test_a_service_table_that_is_none_is_named(service: list[float], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        simulate(Dynamic(2), [0.0], service)


def test_sizes_and_priorities_must_fit_the_requests_and_the_policy() -> None:
    with pytest.raises(UsageError, match="sizes has 1 values for 2 arrivals"):
        simulate(Dynamic(2), [0.0, 1.0], SERVICE, sizes=[1])
    with pytest.raises(UsageError, match="size 0: 0"):
        simulate(Dynamic(2), [0.0], SERVICE, sizes=[0])
    with pytest.raises(UsageError, match=r"sizes 0: 1\.5"):
        simulate(Dynamic(2), [0.0], SERVICE, sizes=[1.5])
    with pytest.raises(UsageError, match="sizes 0: inf"):
        simulate(Dynamic(2), [0.0], SERVICE, sizes=[math.inf])
    with pytest.raises(UsageError, match="priorities for a policy without levels"):
        simulate(Dynamic(2), [0.0], SERVICE, priorities=[1])
    with pytest.raises(UsageError, match="priority 0: 3"):
        simulate(Dynamic(2, levels=2), [0.0], SERVICE, priorities=[3])
    with pytest.raises(UsageError, match="no priorities"):
        simulate(Dynamic(2, levels=2), [0.0], SERVICE)
    with pytest.raises(UsageError, match="static"):
        simulate(Static(2), [0.0], SERVICE, sizes=[2])


def test_arrivals_at_one_instant_are_in_order() -> None:
    assert np.array_equal(requests.arrivals([0, 0, 1]), [0.0, 0.0, 1.0])


def test_numba_is_imported_only_when_something_is_simulated() -> None:
    code = "import sys, perfkit.batching.dynamic; print({'numba', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
