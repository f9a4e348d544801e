"""Static and dynamic batching once more, in SimPy: slow, from the rules, to be read.

SimPy runs what happens at one instant by rank: instances fall free, then arrivals and forming in
the order that the tie rule says, then deadlines that pass.
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import simpy

from perfkit.batching.policies import Dynamic, OneByOne, Policy, Static

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass
class Request:
    arrival: float
    size: int
    level: int
    outcome: str = "stranded"
    dispatch: float = math.nan
    finish: float = math.nan
    batch: int = -1


def play(
    policy: Policy,
    arrivals: Sequence[float],
    service: Sequence[float],
    sizes: Sequence[int] | None = None,
    levels: Sequence[int] | None = None,
) -> list[Request]:
    """Every request after the run; times must be such that their sums are exact."""
    requests = [
        Request(arrival, size, level)
        for arrival, size, level in zip(
            arrivals,
            sizes or itertools.repeat(1),
            levels or itertools.repeat(1),
            strict=False,
        )
    ]
    prefetch = isinstance(policy, Dynamic) and policy.prefetch
    server = (Prefetching if prefetch else Server)(policy, service, len(requests))
    for request in requests:
        server.at(request.arrival, server.arriving, lambda r=request: server.arrive(r))
    server.env.run()
    return requests


class Server:
    """Forms a batch only when an instance is idle."""

    freeing, expiring = 0, 3

    def __init__(self, policy: Policy, service: Sequence[float], expected: int) -> None:
        self.policy = policy
        self.service = service
        self.expected = expected  # arrivals still to come
        self.env = simpy.Environment()
        first = getattr(policy, "tie", "arrivals_first")
        self.arriving, self.forming = (1, 2) if first == "arrivals_first" else (2, 1)
        self.idle = policy.instances
        self.batches = 0
        self.unexpired: dict[int, list[Request]] = {}
        self.delayed: dict[int, list[Request]] = {}

    def at(self, time: float, rank: int, action: Callable[[], None]) -> None:
        event = simpy.Event(self.env)
        event._ok, event._value = True, None
        event.callbacks = [lambda _: action()]
        self.env.schedule(event, rank, time - self.env.now)

    def form_soon(self) -> None:
        self.at(self.env.now, self.forming, self.form)

    def arrive(self, request: Request) -> None:
        self.expected -= 1
        largest = self.policy.batch if isinstance(self.policy, Static) else self.policy.max_batch
        here = self.unexpired.setdefault(request.level, [])
        waiting = len(here) + len(self.delayed.get(request.level, []))
        if request.size > largest:
            request.outcome, request.finish = "too_large", self.env.now
        elif 0 < getattr(self.policy, "max_queue", 0) <= waiting:
            request.outcome, request.finish = "queue_full", self.env.now
        else:
            here.append(request)
            timeout = getattr(self.policy, "timeout_s", None)
            if timeout is not None:
                self.at(self.env.now + timeout, self.expiring, self.expire)
        self.form_soon()

    def expire(self) -> None:
        for level, here in self.unexpired.items():
            late = [r for r in here if r.arrival + self.policy.timeout_s <= self.env.now]
            here[:] = [r for r in here if r not in late]
            if self.policy.timeout_action == "delay":
                self.delayed.setdefault(level, []).extend(late)
            else:
                for request in late:
                    request.outcome, request.finish = "timed_out", self.env.now
        self.form_soon()

    def line(self) -> list[Request]:
        levels = sorted(self.unexpired)
        return [r for n in levels for r in self.unexpired[n] + self.delayed.get(n, [])]

    def form(self) -> None:
        while self.idle and (line := self.line()):
            number = self.choose(line)
            if not number:
                return
            for request in line[:number]:
                for queue in (self.unexpired, self.delayed):
                    if request in queue.get(request.level, []):
                        queue[request.level].remove(request)
            self.start(line[:number])

    def start(self, members: list[Request]) -> None:
        finish = self.env.now + self.service[sum(r.size for r in members)]
        for request in members:
            request.outcome, request.batch = "served", self.batches
            request.dispatch, request.finish = self.env.now, finish
        self.batches += 1
        self.idle -= 1
        self.at(finish, self.freeing, self.free)

    def free(self) -> None:
        self.idle += 1
        self.form_soon()

    def choose(self, line: list[Request]) -> int:
        if isinstance(self.policy, OneByOne):
            return 1
        if isinstance(self.policy, Static):
            flushed = self.policy.at_end == "flush" and not self.expected
            full = len(line) >= self.policy.batch
            return self.policy.batch if full else len(line) if flushed else 0
        return self.choose_dynamic(line, self.policy)

    def choose_dynamic(self, line: list[Request], policy: Dynamic) -> int:
        totals = list(itertools.accumulate(r.size for r in line))
        seen = sum(total <= policy.max_batch for total in totals)
        sizes = set(policy.preferred) or {policy.max_batch}
        liked = [n for n in range(1, seen + 1) if totals[n - 1] in sizes]
        under = max(1, sum(total <= max(sizes) for total in totals))
        best = liked[-1] if liked else under if under < len(line) else 0
        delay = policy.delay_s
        if math.isinf(delay) and policy.at_end == "flush" and not self.expected:
            delay = 0.0
        due = min(r.arrival for r in line[:seen]) + delay
        if delay > 0 and self.env.now >= due:
            return seen
        if best:
            return best
        if seen < len(line) or totals[seen - 1] >= max(sizes) or delay == 0:
            return seen
        if not math.isinf(due):
            self.at(due, self.forming, self.form)
        return 0


@dataclass
class Payload:
    members: list[Request] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(r.size for r in self.members)


class Prefetching(Server):
    """Forms batches ahead, as Triton's batcher thread and its instances do between them."""

    def __init__(self, policy: Dynamic, service: Sequence[float], expected: int) -> None:
        super().__init__(policy, service, expected)
        self.policy: Dynamic = policy
        self.sizes = set(policy.preferred) or {policy.max_batch}
        self.payloads: list[Payload] = []
        self.current: Payload | None = None  # grows still

    def form(self) -> None:
        while True:
            acted = self.batch()
            if self.idle and self.payloads:
                self.execute()
            elif not acted:
                return

    def batch(self) -> bool:
        line = self.line()
        if not line or len(self.payloads) >= 2 * self.policy.instances:
            return False
        has = self.current.size if self.current else 0
        number, closes = self.examine([has + n for n in self.totals(line)], has, line)
        if number is None:
            return False
        if number:
            if self.current is None:
                self.current = Payload()
                self.payloads.append(self.current)
            self.current.members += line[:number]
            self.unexpired[1] = line[number:]
        if closes:
            self.current = None
        return True

    @staticmethod
    def totals(line: list[Request]) -> list[int]:
        return list(itertools.accumulate(r.size for r in line))

    def examine(self, totals: list[int], has: int, line: list[Request]) -> tuple[int | None, bool]:
        """How many join the current payload (None: wait), and whether that closes it."""
        most, delay = max(self.sizes), self.policy.delay_s
        seen = sum(total <= self.policy.max_batch for total in totals)
        liked = [n for n in range(1, seen + 1) if totals[n - 1] in self.sizes]
        under = sum(total <= most for total in totals)
        if not has:
            under = max(1, under)
        over = not liked and under < len(line)
        if over and not under and seen:  # the payload is at its size: what is examined joins it
            best = 1 if len(line) > 1 else 0
        else:
            best = liked[-1] if liked else under if over else 0
        expired = delay > 0 and seen > 0 and self.env.now >= line[0].arrival + delay
        if best and not expired:
            return best, over or delay == 0
        if not seen:
            return 0, True
        if seen < len(line) or totals[seen - 1] >= most:
            return seen, True
        if expired or delay == 0 or (has and has not in self.sizes):
            return seen, False
        self.at(line[0].arrival + delay, self.forming, self.form)
        return None, False

    def execute(self) -> None:
        batch = self.payloads.pop(0)
        if batch is self.current:
            self.current = None
        while self.payloads and self.policy.delay_s > 0 and self.policy.max_batch > 1:
            following = self.payloads[0]
            if not self.env.now > following.members[0].arrival + self.policy.delay_s:
                break
            if following is self.current:
                self.current = None
            if batch.size + following.size > self.policy.max_batch:
                break
            batch.members += self.payloads.pop(0).members
        self.start(batch.members)


def play_closed(
    policy: Policy, clients: int, thinks: Sequence[float], service: Sequence[float]
) -> list[Request]:
    """Every request of a closed loop, in order of arrival."""
    server = Closed(policy, clients, thinks, service)
    for client in range(clients):
        server.think(client, thinks[client])
    server.env.run()
    return server.sent


class Closed(Server):
    """Customers who think after each answer; those due at one instant come by their numbers."""

    def __init__(
        self, policy: Policy, clients: int, thinks: Sequence[float], service: Sequence[float]
    ) -> None:
        super().__init__(policy, service, len(thinks) - clients)
        self.after = thinks[clients:]
        self.sent: list[Request] = []
        self.senders: list[int] = []
        self.due: list[tuple[float, int]] = []

    def think(self, client: int, until: float) -> None:
        heapq.heappush(self.due, (until, client))
        self.at(until, self.arriving, self.send)

    def send(self) -> None:
        if not self.expected:
            return
        now, client = heapq.heappop(self.due)
        assert now == self.env.now
        self.sent.append(Request(now, 1, 1))
        self.senders.append(client)
        self.arrive(self.sent[-1])

    def start(self, members: list[Request]) -> None:
        super().start(members)
        self.at(members[0].finish, self.freeing, lambda: self.answer(members))

    def answer(self, members: list[Request]) -> None:
        for request in members:
            number = next(n for n, sent in enumerate(self.sent) if sent is request)
            self.think(self.senders[number], self.env.now + self.after[number])
