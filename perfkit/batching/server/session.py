"""A measuring session: warm up; calibrate and replay each load; keep what is finished."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from perfkit.batching import arrivals
from perfkit.batching.server.comparison import calibrated
from perfkit.batching.server.document import SCHEMA, Document, rows
from perfkit.batching.server.engines import Engines
from perfkit.batching.server.replay import calibrate, event_loop, replay
from perfkit.errors import UsageError
from perfkit.inputs import models
from perfkit.inputs.prompts import PromptSet
from perfkit.inputs.prompts import read as read_prompts
from perfkit.machine.identity import identify
from perfkit.measurement.slot import Slot
from perfkit.paths import shipped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from perfkit.batching.server.document import Setup

_WARMUP_CAP = 4


def begin(setup: Setup, command: Sequence[str]) -> Document:
    """Return a document in which nothing is measured yet."""
    machine = identify(setup.device)
    return {
        "perfkit_batching_validation": SCHEMA,
        "command": list(command),
        "machine": {"key": machine.key, "name": machine.name, **machine.fields},
        "setup": setup.to_json(),
        "warmups": [],
        "loads": [],
    }


def resumable(kept: Document, asked: Document) -> None:
    """Raise UsageError where a file's setup or machine is not the one asked for."""
    for part in ("setup", "machine"):
        for name, value in asked[part].items():
            if kept[part].get(name) != value:
                raise UsageError(
                    f"--resume: the file's {part} has {name} {kept[part].get(name)!r}, now it is "
                    f"{value!r}: go on there, or give another --output"
                )


def measure(
    setup: Setup,
    loads: Sequence[float],
    document: Document,
    keep: Callable[[Document], None],
    say: Callable[[str], None],
) -> None:
    """Measure the loads that ``document`` lacks, each calibrated first; ``keep`` it after each.

    The calibration stands right before the load that it predicts, since machines drift, and holds
    none of its requests.
    """
    left = [load for load in loads if load not in {one["load"] for one in document["loads"]}]
    if not left:
        return
    slot = Slot(setup.device, lambda name: models.find(name, seed=setup.seed))
    texts = PromptSet.make(read_prompts(shipped("data/prompts.txt")), None, setup.seed)
    most = max(setup.requests, setup.case.batch)
    prompts = texts.rows(range(most), setup.case.prompt_len)
    engines = Engines(setup.case, slot)
    try:
        with asyncio.Runner(loop_factory=event_loop) as runner:
            runner.run(_measure(setup, left, document, engines, prompts, keep, say))
    finally:
        engines.release()


async def _measure(
    setup: Setup,
    left: Sequence[float],
    document: Document,
    engines: Engines,
    prompts: NDArray[np.int64],
    keep: Callable[[Document], None],
    say: Callable[[str], None],
) -> None:
    loop = asyncio.get_running_loop()
    most = setup.case.batch
    # One thread from the first call on: whatever an engine keeps a thread is warm in it.
    with ThreadPoolExecutor(1, "engine") as pool:

        def execute(batch: Sequence[NDArray[np.int64]]) -> Awaitable[Sequence[float]]:
            return loop.run_in_executor(pool, engines, batch)

        warmed = await loop.run_in_executor(pool, engines.warm_up, prompts[:most], _WARMUP_CAP)
        document["warmups"].append({str(size): one.to_json() for size, one in warmed.items()})
        each_s = [warmed[size].seconds[-1] for size in range(1, most + 1)]
        seconds = sum(setup.fit_rounds * sum(each_s) + _span(setup, each_s[-1], load)
                      for load in left)  # fmt: skip
        say(f"warm; {len(left)} loads, each calibrated first, will take about {seconds:.0f} s")
        for load in left:
            seed = setup.seed + round(load * 1000)
            timed = await calibrate(execute, list(prompts[:most]), setup.fit_rounds, seed)
            table = calibrated(timed, most)
            rate = load * most / float(table.total_s[-1])
            planned = arrivals.poisson(rate, setup.requests, seed).round(7).tolist()
            found = await replay(setup.policy, execute, list(prompts[: setup.requests]), planned)
            document["loads"].append(
                {"load": load, "rate_per_s": rate, "calibration": rows(timed),
                 "planned_s": planned, "rows": rows(found)}
            )  # fmt: skip
            keep(document)
            say(
                f"load {load:g}: batches of {_words(table.total_s)}; then {len(found)} requests "
                f"in {max(one.finish_s for one in found):.0f} s"
            )


def _span(setup: Setup, largest_s: float, load: float) -> float:
    """Return about how long the arrivals of a load take to come."""
    return setup.requests * largest_s / (load * setup.case.batch)


def _words(total_s: NDArray[np.float64]) -> str:
    each = (f"{size}: {seconds * 1e3:.4g}" for size, seconds in enumerate(total_s) if size)
    return f"{', '.join(each)} ms"
