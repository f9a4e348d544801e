"""What is timed: batches of every size for the calibration, then arrivals sent in real time.

Both go through the batcher, so its own hops between threads are in both alike.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from perfkit.batching.policies import Static
from perfkit.batching.server.batcher import Batcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perfkit.batching.policies import Policy
    from perfkit.batching.server.batcher import Answer

T = TypeVar("T")
_LEAD_S = 0.05  # so that the first request is not late already when it is sent


def event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop whose timers are exact to microseconds: epoll's are late by up to 1 ms."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def calibrate(
    execute: Callable[[Sequence[T]], Awaitable[Sequence[float]]],
    payloads: Sequence[T],
    rounds: int,
    seed: int,
) -> list[Answer]:
    """Serve batches of 1 to len(payloads), each ``rounds`` times, every round in another order.

    Returns one answer a batch.
    """
    draw = random.Random(seed)  # noqa: S311
    found = []
    for _ in range(rounds):
        sizes = range(1, len(payloads) + 1)
        for size in draw.sample(sizes, len(sizes)):
            batcher = Batcher(Static(size), execute)
            answers = await asyncio.gather(*map(batcher.submit, payloads[:size]))
            found.append(answers[0])
    return found


async def replay(
    policy: Policy,
    execute: Callable[[Sequence[T]], Awaitable[Sequence[float]]],
    payloads: Sequence[T],
    arrival_s: Sequence[float],
) -> list[Answer]:
    """Send each payload at its time, seconds from the begin; return the answers in that order.

    Their times are from the begin too. An arrival is when the batcher received the request, which
    is a little later than it was to be sent.
    """
    loop = asyncio.get_running_loop()
    batcher = Batcher(policy, execute)
    begin = loop.time() + _LEAD_S
    coming = []
    for payload, at in zip(payloads, arrival_s, strict=True):
        await asyncio.sleep(begin + at - loop.time())
        coming.append(batcher.submit(payload))
    batcher.close()
    return [_since(begin, answer) for answer in await asyncio.gather(*coming)]


def _since(begin: float, answer: Answer) -> Answer:
    return replace(
        answer,
        arrival_s=answer.arrival_s - begin,
        dispatch_s=answer.dispatch_s - begin,
        first_token_s=answer.first_token_s - begin,
        finish_s=answer.finish_s - begin,
    )
