from __future__ import annotations

import asyncio
import math
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from perfkit.batching.dynamic import simulate
from perfkit.batching.policies import Dynamic, OneByOne, Policy, Static
from perfkit.batching.record import OUTCOMES
from perfkit.batching.server.batcher import Answer, Batcher
from perfkit.errors import UsageError
from tests.batching.server.virtual import play

if TYPE_CHECKING:
    from collections.abc import Sequence

TAU = [0.0, 1.0, 1.25, 1.5, 1.75]  # seconds of a batch of b; its first token comes after half


def serve(policy: Policy, arrivals: Sequence[float], tau: Sequence[float] = TAU) -> list[Answer]:
    """Play these arrivals through the batcher, in virtual time."""

    async def main() -> list[Answer]:
        loop = asyncio.get_running_loop()

        async def execute(payloads: Sequence[int]) -> Sequence[float]:
            start = loop.time()
            await asyncio.sleep(tau[len(payloads)])
            return [start + tau[len(payloads)] / 2, loop.time()]

        batcher: Batcher[int] = Batcher(policy, execute)
        answers: list[asyncio.Future[Answer]] = []
        all_came = asyncio.Event()

        def come(number: int) -> None:
            answers.append(batcher.submit(number))
            if len(answers) == len(arrivals):
                batcher.close()
                all_came.set()

        for number, at in enumerate(arrivals):
            loop.call_at(at, come, number)
        await all_came.wait()
        return list(await asyncio.gather(*answers))

    return play(main)


def times(answers: list[Answer]) -> list[tuple[float, float, int]]:
    return [(one.dispatch_s, one.finish_s, one.size) for one in answers]


def test_a_full_batch_goes_at_the_instant_it_fills_and_the_next_has_its_own_delay() -> None:
    found = serve(Dynamic(4, delay_s=2.0), [1.0, 1.0, 1.0, 1.0, 1.25])
    assert times(found) == [(1.0, 2.75, 4)] * 4 + [(3.25, 4.25, 1)]


def test_a_delay_ends_a_wait_for_more() -> None:
    found = serve(Dynamic(4, delay_s=0.5), [1.0, 1.25, 4.0])
    assert times(found) == [(1.5, 2.75, 2)] * 2 + [(4.5, 5.5, 1)]


def test_time_behind_a_busy_instance_counts_as_delay() -> None:
    found = serve(Dynamic(4, delay_s=0.25), [0.0, 0.5, 0.75])
    assert times(found) == [(0.25, 1.25, 1)] + [(1.25, 2.5, 2)] * 2


def test_an_instance_that_falls_free_before_the_delay_is_over_goes_on_waiting() -> None:
    found = serve(Dynamic(4, delay_s=1.0), [0.0, 1.75])
    assert times(found) == [(1.0, 2.0, 1), (2.75, 3.75, 1)]


def test_without_delay_what_waits_goes_at_once() -> None:
    found = serve(Dynamic(4), [0.0, 0.25, 0.5, 0.5, 0.75, 0.75])
    assert times(found) == [(0.0, 1.0, 1)] + [(1.0, 2.75, 4)] * 4 + [(2.75, 3.75, 1)]


def test_a_static_batch_waits_to_be_full_and_the_last_is_sent_as_it_is() -> None:
    found = serve(Static(2), [0.0, 5.0, 6.0])
    assert times(found) == [(5.0, 6.25, 2)] * 2 + [(6.25, 7.25, 1)]


def test_one_by_one_is_a_request_an_execution() -> None:
    found = serve(OneByOne(max_batch=4), [0.0, 0.25, 0.25])
    assert times(found) == [(0.0, 1.0, 1), (1.0, 2.0, 1), (2.0, 3.0, 1)]


def test_a_full_queue_refuses_on_arrival_and_a_deadline_when_it_is_past() -> None:
    found = serve(Dynamic(1, max_queue=2, timeout_s=1.5), [0.0, 0.25, 0.25, 0.75])
    assert [one.outcome for one in found] == ["served", "served", "timed_out", "queue_full"]
    assert [one.finish_s for one in found] == [1.0, 2.0, 1.75, 0.75]
    assert found[2].batch == -1
    assert math.isnan(found[2].dispatch_s)


def test_a_request_whose_deadline_is_now_still_goes() -> None:
    found = serve(Dynamic(4, delay_s=0.5, timeout_s=0.5), [1.0])
    assert times(found) == [(1.5, 2.5, 1)]


def test_the_first_token_is_the_engines_own_time() -> None:
    assert [one.first_token_s for one in serve(Dynamic(2), [3.0, 3.0])] == [3.625, 3.625]


def test_nobody_is_taken_after_the_end() -> None:
    async def main() -> None:
        batcher: Batcher[int] = Batcher(OneByOne(), _never)
        batcher.close()
        with pytest.raises(RuntimeError, match="takes no more"):
            batcher.submit(0)

    play(main)


def test_what_the_engine_raises_every_request_of_the_batch_raises_and_the_next_is_served() -> None:
    async def main() -> list[Answer | BaseException]:
        async def execute(payloads: Sequence[int]) -> Sequence[float]:
            await asyncio.sleep(1)
            if 0 in payloads:
                raise MemoryError("no room")
            return [1.0]

        batcher = Batcher(Dynamic(2), execute)
        answers = [batcher.submit(number) for number in range(3)]
        return await asyncio.gather(*answers, return_exceptions=True)

    first, second, third = play(main)
    assert isinstance(first, MemoryError)
    assert isinstance(second, MemoryError)
    assert isinstance(third, Answer)
    assert third.dispatch_s == 1.0


def test_a_request_given_up_meanwhile_disturbs_nobody() -> None:
    async def main() -> Answer:
        async def execute(payloads: Sequence[int]) -> Sequence[float]:
            await asyncio.sleep(len(payloads))
            return [0.0]

        batcher = Batcher(Dynamic(2), execute)
        gone, stays = batcher.submit(0), batcher.submit(1)
        gone.cancel()
        return await stays

    assert play(main).finish_s == 2.0


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Dynamic(8, preferred=(4,), levels=2), "does not do preferred=(4,), levels=2"),
        (Dynamic(8, timeout_s=1.0, timeout_action="delay"), "timeout_action='delay'"),
        (Dynamic(8, instances=2), "instances=2"),
        (OneByOne(instances=3), "instances=3"),
        (Static(8, at_end="strand"), "at_end='strand'"),
        (Dynamic(8, prefetch=True), "prefetch=True"),
        (Dynamic(8, preserve_ordering=True), "preserve_ordering=True"),
    ],
)
def test_what_it_does_not_do_is_refused_by_name(policy: Policy, words: str) -> None:
    async def main() -> None:
        with pytest.raises(UsageError) as caught:
            Batcher(policy, _never)
        assert words in str(caught.value)

    play(main)


async def _never(_: Sequence[int]) -> Sequence[float]:
    raise AssertionError("nothing was to be executed")


def plain(draw: random.Random) -> Policy:
    batch = draw.randint(1, 6)
    return draw.choice([Static(batch), OneByOne(), Dynamic(batch, draw.choice([0, 0.5, 2.5]))])


def limited(draw: random.Random) -> Policy:
    return Dynamic(
        draw.randint(1, 6),
        draw.choice([0.0, 0.4, 2.3, math.inf]),
        max_queue=draw.choice([0, 1, 2, 4]),
        timeout_s=draw.choice([None, 0.6, 1.7, 3.9]),
    )


def with_ties(draw: random.Random) -> float:
    return draw.randint(0, 6) / 4


def without_ties(draw: random.Random) -> float:
    return draw.expovariate(1.0)


@pytest.mark.parametrize(("make", "gap"), [(plain, with_ties), (limited, without_ties)])
def test_the_same_arrivals_give_the_simulators_batches_and_times_exactly(
    make: type[Policy], gap: type[float]
) -> None:
    outcomes = dict.fromkeys(OUTCOMES, 0)
    for seed in range(300):
        draw = random.Random(seed)
        policy = make(draw)
        arrivals = np.cumsum([gap(draw) for _ in range(draw.randint(1, 25))]).tolist()
        tau = [0.0, *(gap(draw) + 0.25 for _ in range(6))]
        found = serve(policy, arrivals, tau)
        most = getattr(policy, "max_batch", getattr(policy, "batch", 1))
        run = simulate(policy, arrivals, tau[: most + 1])
        got = [
            (one.arrival_s, one.dispatch_s, one.finish_s, one.batch, one.outcome) for one in found
        ]
        want = zip(
            run.arrival_s, run.dispatch_s, run.finish_s, run.batch,
            [OUTCOMES[code] for code in run.outcome], strict=True,
        )  # fmt: skip
        np.testing.assert_equal(got, list(want), err_msg=f"seed {seed}, {policy}")
        for one in found:
            outcomes[one.outcome] += 1
    refusing = make is limited
    assert outcomes["served"] > 1000
    assert (outcomes["timed_out"] > 100) is refusing
    assert (outcomes["queue_full"] > 100) is refusing
