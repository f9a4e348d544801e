from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "given", "named"),
    [
        (Static, {"batch": 0}, "batch 0"),
        (Static, {"batch": 2.0}, "batch 2.0"),
        (Static, {"batch": 2, "at_end": "drop"}, "unknown at_end 'drop'"),
        (Static, {"batch": 2, "instances": 0}, "instances 0"),
        (OneByOne, {"max_batch": -1}, "max_batch -1"),
        (Dynamic, {"max_batch": True}, "max_batch True"),
        (Dynamic, {"max_batch": 4, "delay_s": -1.0}, "delay_s -1.0"),
        (Dynamic, {"max_batch": 4, "delay_s": math.nan}, "delay_s nan"),
        (Dynamic, {"max_batch": 4, "preferred": (8,)}, "preferred 8"),
        (Dynamic, {"max_batch": 4, "preferred": (0,)}, "preferred 0"),
        (Dynamic, {"max_batch": 4, "max_queue": -1}, "max_queue -1"),
        (Dynamic, {"max_batch": 4, "timeout_s": 0.0}, "timeout_s 0.0"),
        (Dynamic, {"max_batch": 4, "timeout_s": math.nan}, "timeout_s nan"),
        (Dynamic, {"max_batch": 4, "timeout_action": "wait"}, "unknown timeout_action 'wait'"),
        (Dynamic, {"max_batch": 4, "levels": 65}, "levels 65"),
        (Dynamic, {"max_batch": 4, "tie": "both"}, "unknown tie 'both'"),
        (Dynamic, {"max_batch": 4, "prefetch": True, "max_queue": 3}, "prefetch with max_queue"),
        (Dynamic, {"max_batch": 4, "prefetch": True, "delay_s": math.inf}, "delay_s inf"),
    ],
)
def test_a_policy_that_no_server_could_follow_is_refused_by_name(
    kind: type[Any], given: dict[str, Any], named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        kind(**given)


def test_no_preferred_size_means_the_largest() -> None:
    assert Dynamic(8).preferred_sizes == (8,)
    assert Dynamic(8, preferred=(6, 2, 6)).preferred_sizes == (2, 6)


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Static(2).batch = 3  # type: ignore[misc]
