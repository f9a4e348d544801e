"""The batcher: requests wait on an event loop, batches run elsewhere, one at a time.

It keeps no time of its own. The loop's clock is the only one, so a loop of virtual time plays any
arrivals without sleeping.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from perfkit.batching.server.rules import next_dispatch, served

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from perfkit.batching.policies import Policy

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What became of one request; seconds on the loop's clock, NaN where there is none.

    ``arrival_s``: the batcher received it. ``dispatch_s``: it decided that the batch goes.
    ``first_token_s``: the first token was at the host. ``finish_s``: the loop had the last one and
    could send it, which is also when the next batch can go; or when the request was refused.
    ``batch``: the number of its batch, -1 for none, and ``size`` its requests. ``outcome``: one of
    perfkit.batching.record.OUTCOMES.
    """

    arrival_s: float
    dispatch_s: float
    first_token_s: float
    finish_s: float
    batch: int
    size: int
    outcome: str


@dataclass(frozen=True)
class _Waiting(Generic[T]):
    payload: T
    arrival_s: float
    answer: asyncio.Future[Answer]

    def give(self, answer: Answer) -> None:
        """Answer; whoever asked may have gone meanwhile, but nobody is answered twice."""
        if not self.answer.cancelled():
            self.answer.set_result(answer)


class Batcher(Generic[T]):
    """Static, dynamic or one-by-one batching in front of one instance, first come, first served.

    ``execute`` takes the payloads of a batch and returns, later, when each of its tokens was at the
    host, in seconds on the loop's clock. What it raises, every request of that batch raises. Make
    it while the loop runs. Raises UsageError for a policy that it does not do.
    """

    def __init__(
        self, policy: Policy, execute: Callable[[Sequence[T]], Awaitable[Sequence[float]]]
    ) -> None:
        """Start with an empty queue and an idle instance."""
        self._rules = served(policy)
        self._timeout_s = math.inf if self._rules.timeout_s is None else self._rules.timeout_s
        self._execute = execute
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting[T]] = deque()
        self._batches = itertools.count()
        self._running: asyncio.Future[Sequence[float]] | None = None
        self._closed = False
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, payload: T) -> asyncio.Future[Answer]:
        """Take a request that has come now; its answer comes later."""
        if self._closed:
            raise RuntimeError("the batcher is closed: it takes no more requests")
        request = _Waiting(payload, self._loop.time(), self._loop.create_future())
        if 0 < self._rules.max_queue <= len(self._waiting):
            _refuse(request, request.arrival_s, "queue_full")
        else:
            self._waiting.append(request)
            self._decide_soon()
        return request.answer

    def close(self) -> None:
        """Say that nobody comes any more: what waits for a full batch for ever goes as it is."""
        self._closed = True
        self._decide_soon()

    def _decide_soon(self) -> None:
        # In the loop's next turn, so that all who come in this one are seen together.
        if self._soon is None:
            self._soon = self._loop.call_soon(self._decide)

    def _decide(self) -> None:
        self._soon = None
        now_s = self._loop.time()
        self._expire(now_s, inclusive=False)
        again_s = math.inf
        if self._running is None and self._waiting:
            count, again_s = next_dispatch(
                len(self._waiting), self._waiting[0].arrival_s, now_s, self._rules,
                closed=self._closed,
            )  # fmt: skip
            if count:
                self._dispatch([self._waiting.popleft() for _ in range(count)], now_s)
                again_s = math.inf
        # A request whose deadline is this very instant could still have gone.
        self._expire(now_s, inclusive=True)
        self._wake_at(min(again_s, self._deadline_s()))

    def _wake_at(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        ends = when_s < math.inf
        self._timer = self._loop.call_at(when_s, self._decide_soon) if ends else None

    def _deadline_s(self) -> float:
        return self._waiting[0].arrival_s + self._timeout_s if self._waiting else math.inf

    def _expire(self, now_s: float, *, inclusive: bool) -> None:
        """Refuse those whose deadline is past, or is now."""
        while self._waiting and (
            self._deadline_s() < now_s or (inclusive and self._deadline_s() == now_s)
        ):
            _refuse(self._waiting.popleft(), now_s, "timed_out")

    def _dispatch(self, batch: list[_Waiting[T]], now_s: float) -> None:
        self._running = asyncio.ensure_future(self._execute([one.payload for one in batch]))
        self._running.add_done_callback(partial(self._finish, batch, next(self._batches), now_s))

    def _finish(
        self,
        batch: list[_Waiting[T]],
        number: int,
        dispatch_s: float,
        done: asyncio.Future[Sequence[float]],
    ) -> None:
        finish_s = self._loop.time()
        self._running = None
        self._decide_soon()
        if done.cancelled():
            for one in batch:
                one.answer.cancel()
            return
        error = done.exception()
        for one in batch:
            if error is None:
                one.give(Answer(one.arrival_s, dispatch_s, done.result()[0], finish_s, number,
                                len(batch), "served"))  # fmt: skip
            elif not one.answer.cancelled():
                one.answer.set_exception(error)


def _refuse(request: _Waiting[T], now_s: float, outcome: str) -> None:
    request.give(Answer(request.arrival_s, math.nan, math.nan, now_s, -1, 0, outcome))
