"""The lab: what all cells of a session share; how it is opened and closed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from perfkit.inputs import models
from perfkit.inputs.prompts import PromptSet, read
from perfkit.machine import ceilings, telemetry
from perfkit.measurement.reference import References
from perfkit.measurement.slot import Slot
from perfkit.precisions import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource
    from perfkit.machine.ceilings import Ceilings
    from perfkit.machine.telemetry import Sampler
    from perfkit.measurement.clock import DeviceClock
    from perfkit.measurement.tracing import Profiler


@dataclass(frozen=True)
class Settings:
    """How thoroughly to measure: timed rounds, the warm-up cap, and a cell's time limit."""

    rounds: int = 5
    max_warmup: int = 3
    cell_timeout_s: float = 600.0


@dataclass(frozen=True)
class Profiling:
    """Who looks at a generation after the timed rounds, and where what it saw goes."""

    profiler: Profiler
    folder: Path


@dataclass
class Lab:
    """What all cells of a session share."""

    device: str
    slot: Slot
    prompts: PromptSet
    references: References
    clock: DeviceClock
    ceilings: Ceilings | None
    sampler: Sampler | None
    gpu_uuids: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)
    profiling: Profiling | None = None

    def source(self, case: Case) -> ModelSource:
        """Return where the case's model comes from."""
        return self.slot.find(case.model)


def open_lab(
    *,
    device: str,
    gpu_uuids: tuple[str, ...],
    prompts_file: Path,
    local: ModelSource | None,
    plan: Sequence[Case],
    seed: int,
    settings: Settings,
    clock: DeviceClock,
    measure_ceilings: bool = True,
    profiling: Profiling | None = None,
) -> Lab:
    """Start the sampler, measure the ceilings, read the prompts.

    The sampler starts first: its first reading is the device memory before this process used any.
    Raises UsageError for prompts that cannot be read.
    """
    texts = read(prompts_file)
    sampler = telemetry.Sampler.start(device, gpu_uuids, os.getpid())
    precisions = ceilings_needed(plan)
    measured = ceilings.measure(device, precisions) if measure_ceilings else None
    tokenizer = models.tokenizer(local) if local is not None else None
    encode = None if tokenizer is None else partial(tokenizer.encode, add_special_tokens=False)
    prompts = PromptSet.make(texts, encode, seed)
    known = {local.name: local} if local is not None else {}
    slot = Slot(device, lambda name: models.find(name, known, seed))
    references = References(slot, prompts, device, tuple(plan))
    return Lab(
        device=device,
        slot=slot,
        prompts=prompts,
        references=references,
        clock=clock,
        ceilings=measured,
        sampler=sampler,
        gpu_uuids=gpu_uuids,
        settings=settings,
        profiling=profiling,
    )


def ceilings_needed(plan: Sequence[Case]) -> tuple[str, ...]:
    """Return the precisions whose GEMM ceiling the plan's cells are held against; none for fp8."""
    needed = dict.fromkeys(PRECISIONS[case.precision].products for case in plan)
    return tuple(name for name in needed if name != "fp8")


def close_lab(lab: Lab) -> None:
    """Give the device back and end the sampler."""
    lab.slot.empty()
    if lab.sampler is not None:
        lab.sampler.close()
