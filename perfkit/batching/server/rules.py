"""When a waiting batch goes: a decision of numbers, without a clock; rule 6 of dynamic batching."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING

from perfkit.batching.dynamic import as_dynamic
from perfkit.batching.policies import Dynamic, OneByOne
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from perfkit.batching.policies import Policy

_DONE = {"max_batch", "delay_s", "max_queue", "timeout_s"}


def served(policy: Policy) -> Dynamic:
    """Say a policy in the terms of the dynamic batcher, for requests of one item each.

    Raises UsageError naming what the batcher does not do.
    """
    rules = as_dynamic(policy)
    left = [one for one in fields(Dynamic) if one.name not in _DONE]
    asked = [f"{one.name}={getattr(rules, one.name)!r}" for one in left
             if getattr(rules, one.name) != one.default]  # fmt: skip
    if asked:
        raise UsageError(
            f"the batcher does not do {', '.join(asked)}: leave it out, or simulate it"
        )
    return Dynamic(1, instances=1) if isinstance(policy, OneByOne) else rules


def next_dispatch(
    waiting: int, oldest_s: float, now_s: float, rules: Dynamic, *, closed: bool
) -> tuple[int, float]:
    """Return how many of those waiting an idle instance takes now, and when to ask again if none.

    ``oldest_s`` is the arrival of the first of them. Asking again at math.inf means that only an
    arrival, or ``closed`` (nobody comes any more), changes the answer.
    """
    if waiting == 0:
        return 0, math.inf
    due_s = oldest_s + rules.delay_s
    last = closed and math.isinf(rules.delay_s)
    if waiting >= rules.max_batch or now_s >= due_s or last:
        return min(waiting, rules.max_batch), now_s
    return 0, due_s
