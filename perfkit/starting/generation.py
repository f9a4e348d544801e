"""What a start does once its libraries are there: weights, a first generation, steady ones."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.backends import backend
from perfkit.cases import Case
from perfkit.errors import UsageError
from perfkit.inputs import models
from perfkit.inputs.prompts import PromptSet, read
from perfkit.machine.clocks import round_clock
from perfkit.measurement.slot import synchronise
from perfkit.metrics import summarise
from perfkit.paths import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from perfkit.backends.engine import Engine
    from perfkit.metrics import Trace
    from perfkit.starting.worker import Phases

_STEADY_ROUNDS = 3


def generate(asked: Mapping[str, Any], phases: Phases) -> dict[str, Any]:
    """Load, build, generate once and then steadily; return phases and figures, in seconds.

    Raises UsageError for a case that cannot run on the device.
    """
    counted = triton_compilations()
    case, device = Case.parse(asked["case"]), asked["device"]
    module = backend(case.backend)
    reason = module.unsupported(case, device)
    if reason is not None:
        raise UsageError(f"{case.id} cannot run here: {reason}")
    synchronise(device)  # on a GPU: makes the context
    phases.mark("device")
    local = models.local(Path(asked["model"])) if asked["model"] else None
    prompts = _prompts(local, asked["seed"])
    phases.mark("prompts")
    known = {local.name: local} if local is not None else {}
    loaded = module.load(case, models.find(case.model, known, asked["seed"]), device)
    synchronise(device)
    phases.mark("load")
    engine = module.build(loaded, case)
    phases.mark("build")
    ids = [_ids(prompts, case, device, round_) for round_ in range(1 + _STEADY_ROUNDS)]
    _first(engine, case, device, ids[0], phases)
    compiled = {"inductor": inductor_lookups(), "triton": counted}
    traces = [_steady(engine, case, device, row) for row in ids[1:]]
    return {
        "phases": phases.seconds,
        "steady": summarise(traces, case.batch, case.prompt_len),
        "compiled": compiled,
        "engine": dict(engine.notes),
    }


def _prompts(local: models.ModelSource | None, seed: int) -> PromptSet:
    tokenizer = models.tokenizer(local) if local is not None else None
    encode = None if tokenizer is None else partial(tokenizer.encode, add_special_tokens=False)
    return PromptSet.make(read(shipped("data/prompts.txt")), encode, seed)


def _ids(prompts: PromptSet, case: Case, device: str, round_: int) -> torch.Tensor:
    import torch

    return torch.from_numpy(prompts.batch(round_, case.batch, case.prompt_len)).to(device)


def _first(engine: Engine, case: Case, device: str, ids: torch.Tensor, phases: Phases) -> None:
    """Generate for the first time; the first token counts when the device has it."""
    seen = False

    def stamp() -> None:
        nonlocal seen
        if not seen:
            synchronise(device)
            phases.mark("first_token")
            seen = True

    tokens = engine.generate(ids, case.new_tokens, stamp)
    synchronise(device)
    phases.mark("further_tokens")
    expected = (case.batch, case.new_tokens)
    if tuple(tokens.shape) != expected:
        raise RuntimeError(f"{case.backend} returned {tuple(tokens.shape)}, expected {expected}")


def _steady(engine: Engine, case: Case, device: str, ids: torch.Tensor) -> Trace:
    clock = round_clock(device, case.new_tokens)
    synchronise(device)
    clock.submit()
    engine.generate(ids, case.new_tokens, clock.stamp)
    return clock.finish().trace


def inductor_lookups() -> dict[str, int]:
    """Return how often this process found a graph in Inductor's caches on disk, and how often not.

    Those of AOTAutograd's cache stand beside it: a hit there takes the graph from Inductor's.
    """
    told: Any = sys.modules.get("torch._dynamo.utils")
    counts = told.counters if told is not None else {}
    return {
        f"{name}_{end}": int(counts.get(group, {}).get(f"{key}_{word}", 0))
        for name, group, key in (
            ("graph", "inductor", "fxgraph_cache"),
            ("autograd", "aot_autograd", "autograd_cache"),
        )
        for end, word in (("hits", "hit"), ("misses", "miss"), ("bypasses", "bypass"))
    }


def triton_compilations() -> dict[str, int]:
    """Return a count that grows with each kernel that Triton compiles here, or finds on disk."""
    counted = {"hits": 0, "misses": 0}
    triton: Any = sys.modules.get("triton")
    if triton is not None:

        def listener(*_: Any, cache_hit: bool, **__: Any) -> None:
            counted["hits" if cache_hit else "misses"] += 1

        triton.knobs.compilation.listener = listener
    return counted
