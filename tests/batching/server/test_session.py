from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from perfkit import cases
from perfkit.batching.policies import Dynamic
from perfkit.batching.server import session
from perfkit.batching.server.document import Setup, answers
from perfkit.batching.server.engines import Engines
from perfkit.batching.server.replay import calibrate, replay
from perfkit.cases import Case
from perfkit.errors import UsageError
from perfkit.inputs import models
from perfkit.machine.clocks import Round
from perfkit.measurement.slot import Slot
from perfkit.metrics import Trace
from tests.batching.server.virtual import play
from tests.measurement import fake_backend

if TYPE_CHECKING:
    from collections.abc import Sequence

CASE = Case.parse("torch-eager/llama-tiny/fp32/fmha/b3/p4/n5/tp1")
SETUP = Setup(CASE, Dynamic(3), 12, 2, 0, "cpu")


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cases.BACKENDS, "torch-eager", "tests.measurement.fake_backend")


def prompts(number: int) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    return list(np.zeros((number, CASE.prompt_len), np.int64))


def test_tokens_are_stamped_on_the_loops_clock() -> None:
    engines = Engines(CASE, Slot("cpu", models.find))
    before = time.monotonic()
    stamps = engines(prompts(2))
    assert before <= stamps[0] <= stamps[4] <= time.monotonic()
    assert len(stamps) == 5


def test_an_engines_own_times_end_where_the_host_saw_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As a GPU's events: the last token came 0.5 s before the round was over, the first 1.5 s.
    took = Round(2.0, Trace((0.5, 0.75, 1.0, 1.25, 1.5)))
    clock = SimpleNamespace(submit=list, stamp=list, finish=lambda: took)
    monkeypatch.setattr(fake_backend.FakeEngine, "apart", SimpleNamespace(clock=clock))
    engines = Engines(CASE, Slot("cpu", models.find))
    before = time.monotonic()
    stamps = engines(prompts(1))
    after = time.monotonic()
    assert before <= stamps[0] + 1.5 <= after
    assert np.diff(stamps) == pytest.approx([0.25] * 4)


def test_tokens_that_are_missing_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fake_backend.FakeEngine.generate
    monkeypatch.setattr(
        fake_backend.FakeEngine, "generate", lambda self, ids, _, stamp: whole(self, ids, 4, stamp)
    )
    engines = Engines(CASE, Slot("cpu", models.find))
    with pytest.raises(RuntimeError, match=r"shape \(2, 4\) and 4 times, expected \(2, 5\)"):
        engines(prompts(2))


def test_every_batch_size_is_warmed_the_largest_first() -> None:
    engines = Engines(CASE, Slot("cpu", models.find))
    assert list(engines.warm_up(np.zeros((3, 4), np.int64), 2)) == [3, 2, 1]


def test_a_calibration_runs_each_size_in_each_round_in_orders_of_its_seed() -> None:
    async def main(seed: int) -> list[tuple[int, float]]:
        found = await calibrate(_by_size, list(range(4)), 3, seed)
        return [(one.size, one.finish_s - one.dispatch_s) for one in found]

    found = play(lambda: main(0))
    assert all(took == size for size, took in found)
    orders = [[size for size, _ in found[at : at + 4]] for at in (0, 4, 8)]
    assert all(sorted(order) == [1, 2, 3, 4] for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert play(lambda: main(0)) == found
    assert play(lambda: main(1)) != found


def test_a_replay_sends_each_request_at_its_time_and_says_times_from_the_begin() -> None:
    async def main() -> list[tuple[float, float, float]]:
        await asyncio.sleep(100)
        found = await replay(Dynamic(2), _by_size, list(range(3)), [0.0, 0.5, 0.75])
        return [(one.arrival_s, one.dispatch_s, one.finish_s) for one in found]

    want = [(0.0, 0.0, 1.0), (0.5, 1.0, 3.0), (0.75, 1.0, 3.0)]
    np.testing.assert_allclose(play(main), want, atol=1e-12)


async def _by_size(payloads: Sequence[int]) -> Sequence[float]:
    await asyncio.sleep(len(payloads))
    return [asyncio.get_running_loop().time()]


def test_a_session_keeps_what_is_finished_and_goes_on_there() -> None:
    document = session.begin(SETUP, ["perfkit"])
    kept: list[int] = []

    def keep(done: dict[str, Any]) -> None:
        kept.append(len(done["loads"]))
        if kept == [1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.measure(SETUP, (0.5, 0.3), document, keep, lambda _: None)
    assert [one["load"] for one in document["loads"]] == [0.5]
    first = document["loads"][0]
    assert sorted(first["calibration"]["size"]) == [1, 1, 2, 2, 3, 3]

    said: list[str] = []
    session.measure(SETUP, (0.5, 0.3), document, keep, said.append)
    assert kept == [1, 2]
    assert [one["load"] for one in document["loads"]] == [0.5, 0.3]
    assert document["loads"][0] is first
    assert said[0].startswith("warm; 1 loads, each calibrated first, will take about ")

    said.clear()
    session.measure(SETUP, (0.5, 0.3), document, keep, said.append)
    assert not said  # nothing is left, so no model is loaded


def test_only_the_same_setup_on_the_same_machine_is_gone_on_with() -> None:
    document = session.begin(SETUP, ["perfkit"])
    session.resumable(document, session.begin(SETUP, ["perfkit", "--resume"]))
    other = session.begin(Setup(CASE, Dynamic(3), 13, 2, 0, "cpu"), ["perfkit"])
    with pytest.raises(UsageError, match="setup has requests 12, now it is 13"):
        session.resumable(document, other)
    elsewhere = {**document, "machine": {**document["machine"], "gpu_uuid": "another"}}
    with pytest.raises(UsageError, match="machine has gpu_uuid 'another'"):
        session.resumable(elsewhere, document)


def test_every_request_of_a_session_is_answered_once_in_order() -> None:
    document = session.begin(SETUP, ["perfkit"])
    session.measure(SETUP, (0.8,), document, lambda _: None, lambda _: None)
    (load,) = document["loads"]
    found = answers(load["rows"])
    assert len(found) == SETUP.requests
    assert {one.outcome for one in found} == {"served"}
    assert load["rate_per_s"] > 0
