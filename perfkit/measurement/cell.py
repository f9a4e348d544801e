"""One cell, from Case to Result: the only path by which anything is measured."""

from __future__ import annotations

import re
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from perfkit.backends import backend
from perfkit.backends.engine import ApartError
from perfkit.cases import check_positions
from perfkit.errors import UsageError, first_line
from perfkit.machine import kernels
from perfkit.machine.clocks import round_clock
from perfkit.machine.contention import cpu_wait_s
from perfkit.machine.telemetry import SHORTEST_WINDOW_S, energy_j
from perfkit.measurement import figures, tracing
from perfkit.measurement.reference import free_run
from perfkit.measurement.slot import give_back_memory, synchronise
from perfkit.measurement.steady import Warmup, warm_up
from perfkit.results.agreement import Agreement, unchecked
from perfkit.results.record import Result
from perfkit.roofline import forecast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from perfkit.backends.engine import Engine
    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource
    from perfkit.machine.clocks import RoundClock
    from perfkit.measurement.lab import Lab, Profiling


class Rounds(Protocol):
    """Runs timed rounds: pytest-benchmark's ``pedantic``, or anything with its signature."""

    def __call__(
        self,
        target: Callable[..., Any],
        *,
        setup: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]],
        rounds: int,
    ) -> object:
        """Call ``setup`` untimed, then ``target`` between two readings of the timer, each round."""
        ...


class CellTimeoutError(Exception):
    """A cell took longer than its limit; raised between rounds."""


def measure(case: Case, lab: Lab, rounds: Callable[[], Rounds]) -> Result:
    """Measure ``case``; never raises for what the case or the machine cannot do.

    ``rounds`` is asked for its runner only once something is to be timed. KeyboardInterrupt and
    pytest's own control exceptions pass through.
    """
    reason = backend(case.backend).unsupported(case, lab.device)
    if reason is not None:
        return Result(case, "unsupported", reason)
    details: dict[str, Any] = {"memory": {}, "phases": {}}
    engines: list[Engine] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            verdict, why = _run(case, lab, rounds, details, engines)
        except CellTimeoutError as error:
            verdict, why = "timeout", str(error)
        except ApartError as error:
            verdict, why = error.verdict, str(error)
        except UsageError as error:  # what only the weights could tell
            verdict, why = "unsupported", str(error)
        except Exception as error:
            verdict, why = _failure(error, lab, details)
        finally:
            # Also where a person interrupts: an engine's own processes must not outlive its cell.
            for engine in engines:
                engine.release()
    engines.clear()
    give_back_memory(lab.device)
    if verdict in ("oom", "crash", "timeout"):
        lab.slot.empty()
    details["warnings"] = _texts(caught)
    return Result(case, verdict, why, details)


def _run(
    case: Case,
    lab: Lab,
    rounds: Callable[[], Rounds],
    details: dict[str, Any],
    engines: list[Engine],
) -> tuple[str, str | None]:
    source = lab.source(case)
    try:
        check_positions(case, source.arch.positions)
    except ValueError as error:
        return "unsupported", str(error)
    details["memory"]["forecast"] = forecast(case, source.arch).to_json()
    _prepare_reference(case, lab, source, details)
    give_back_memory(lab.device)

    engine = lab.slot.engine(case)
    engines.append(engine)
    details["engine"] = dict(engine.notes)
    details["phases"] = {"load_s": lab.slot.load_s, "build_s": lab.slot.build_s}
    if engine.apart is None:
        details["memory"]["weights_bytes"] = _allocated(lab.device)
    generated = _first_run(case, lab, engine, details)
    agreement = _check(case, lab, engine, generated, details)
    details["agreement"] = agreement.to_json()
    if agreement.status == "diverged":
        return "diverged", agreement.reason
    if lab.profiling is None or lab.profiling.profiler == "torch":
        # Under another profiler torch's own would take its place.
        details["attention"] = _attention(case, lab, engine)

    # What went before has limits of its own where it is a process, and may be an hour's build.
    deadline = time.monotonic() + lab.settings.cell_timeout_s
    lab.clock.bind(_clock(case, lab, engine))
    warmup = warm_up(lambda k: _untimed(case, lab, engine, k, deadline), lab.settings.max_warmup)
    details["warmup"] = warmup.to_json()
    _reset_peaks(lab.device)
    window = _timed(case, lab, engine, rounds(), warmup, deadline)
    details["engine"] = dict(engine.notes)
    if engine.apart is not None:
        details["memory"] |= _told(engine.apart.memory())
    verdict = figures.fill(case, lab, source.arch, window, details)
    if lab.profiling is not None:
        details["profile"] = _profile(case, lab, engine, lab.profiling)
    return verdict


def _prepare_reference(case: Case, lab: Lab, source: ModelSource, details: dict[str, Any]) -> None:
    """Make the reference first, so that its memory is gone before the cell's own is counted."""
    reason = backend(case.backend).uncheckable(case, source)
    if reason is not None:
        details["agreement"] = unchecked(reason).to_json()
        return
    try:
        lab.references.prepare(case)
    except Exception as error:
        lab.slot.empty()
        details["agreement"] = unchecked(f"no fp32 reference: {first_line(error)}").to_json()


def _first_run(case: Case, lab: Lab, engine: Engine, details: dict[str, Any]) -> torch.Tensor:
    """Run once on the agreement prompts: compiles whatever compiles, and shows the free run."""
    ids = lab.references.ids(case.batch, case.prompt_len)
    synchronise(lab.device)
    start = time.perf_counter()
    generated = engine.generate(ids, free_run(case), _no_stamp)
    synchronise(lab.device)
    details["phases"]["first_run_s"] = time.perf_counter() - start
    details["phases"]["first_run_tokens"] = free_run(case)
    _assert_exact(generated, case, free_run(case))
    return generated.clone()


def _check(
    case: Case, lab: Lab, engine: Engine, generated: torch.Tensor, details: dict[str, Any]
) -> Agreement:
    if "agreement" in details:
        return unchecked(str(details["agreement"]["reason"]))
    try:
        return lab.references.check(case, engine, generated)
    except ApartError as error:
        # What gives the logits may not be what is timed: its failure is no verdict on the cell.
        return unchecked(str(error))


def _attention(case: Case, lab: Lab, engine: Engine) -> dict[str, Any]:
    """Profile one prefill, then a prefill and one step; the difference is the step.

    An engine in a process of its own tells what ran there.
    """
    if engine.apart is not None:
        return engine.apart.attention()
    ids = lab.references.ids(case.batch, case.prompt_len)
    counts = [
        kernels.profile(partial(engine.generate, ids, tokens, _no_stamp), lab.device)
        for tokens in range(1, 1 + min(2, case.new_tokens))
    ]
    return kernels.describe(case.attention, counts[0], counts[-1])


def _profile(case: Case, lab: Lab, engine: Engine, profiling: Profiling) -> dict[str, Any]:
    """Run once more under a profiler; what it could not see is a reason, and no cell is lost."""
    told: dict[str, Any] = {"tool": profiling.profiler}
    if engine.apart is not None:
        return told | {"absent": "the engine runs in a process of its own"}
    ids, tokens = _ids(case, lab, 0), min(case.new_tokens, 1 + tracing.STEPS)
    run = partial(engine.generate, ids, tokens)
    try:
        if profiling.profiler != "torch":
            tracing.captured(run, tokens)
            return told
        path = profiling.folder / f"{case.id.replace('/', '_')}.trace.json.gz"
        tracing.trace(run, tokens, lab.device, path)
    except Exception as error:
        return told | {"absent": f"not profiled: {first_line(error)}"}
    return told | {"file": path.name}


def _clock(case: Case, lab: Lab, engine: Engine) -> RoundClock:
    if engine.apart is not None:
        return engine.apart.clock
    return round_clock(lab.device, case.new_tokens)


def _told(memory: Mapping[str, object]) -> dict[str, Any]:
    """Return what an engine's process told of its memory; a text is why there is no number."""
    absent = {name: value for name, value in memory.items() if isinstance(value, str)}
    return {**memory, **dict.fromkeys(absent), "absent": absent}


def _ids(case: Case, lab: Lab, round_: int) -> torch.Tensor:
    import torch

    rows = lab.prompts.batch(round_, case.batch, case.prompt_len)
    return torch.from_numpy(rows).to(lab.device)


def _untimed(case: Case, lab: Lab, engine: Engine, k: int, deadline: float) -> float:
    """One warm-up round; returns its seconds by the same clock that times rounds."""
    _keep_to(deadline, lab)
    ids = _ids(case, lab, k)
    synchronise(lab.device)
    before = lab.clock()
    engine.generate(ids, case.new_tokens, lab.clock.stamp)
    return lab.clock() - before


def _timed(
    case: Case, lab: Lab, engine: Engine, rounds: Rounds, warmup: Warmup, deadline: float
) -> figures.Measured:
    """Run the timed rounds; everything but the call itself happens outside the two readings."""
    made = iter(range(len(warmup.seconds), len(warmup.seconds) + lab.settings.rounds + 1))
    outputs: list[torch.Tensor] = []

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        _keep_to(deadline, lab)
        ids = _ids(case, lab, next(made))
        synchronise(lab.device)
        return (ids, case.new_tokens, lab.clock.stamp), {}

    def target(ids: torch.Tensor, new_tokens: int, stamp: Callable[[], None]) -> None:
        outputs.append(engine.generate(ids, new_tokens, stamp))

    lab.clock.bind(_clock(case, lab, engine))
    energy_before = energy_j(lab.gpu_uuids[: case.tp])
    waited_before = cpu_wait_s()
    start = time.monotonic()
    rounds(target, setup=setup, rounds=lab.settings.rounds)
    wall_s, waited_after = time.monotonic() - start, cpu_wait_s()
    energy_after = energy_j(lab.gpu_uuids[: case.tp])
    # What the rounds allocated is still held, so a sample a moment later still sees it.
    time.sleep(max(0.0, start + SHORTEST_WINDOW_S - time.monotonic()) if lab.sampler else 0.0)
    end = time.monotonic()
    for output in outputs:
        _assert_exact(output, case, case.new_tokens)
    return figures.Measured(
        traces=tuple(lab.clock.traces),
        device_s=tuple(lab.clock.device_s),
        host_s=tuple(lab.clock.host_s),
        window=lab.sampler.window(start, end, case.tp) if lab.sampler else None,
        energy=(energy_before, energy_after),
        cpu_wait=(waited_before, waited_after),
        wall_s=wall_s,
    )


def _assert_exact(tokens: torch.Tensor, case: Case, new_tokens: int) -> None:
    expected = (case.batch, new_tokens)
    if tuple(tokens.shape) != expected:
        raise RuntimeError(f"{case.backend} returned tokens of shape {tuple(tokens.shape)}, "
                           f"expected {expected}")  # fmt: skip


def _keep_to(deadline: float, lab: Lab) -> None:
    if time.monotonic() > deadline:
        limit = lab.settings.cell_timeout_s
        raise CellTimeoutError(f"over its limit of {limit:.0f} s, seen between rounds")


def _allocated(device: str) -> int | None:
    """Return what torch holds on the device; right after an engine is built that is its weights."""
    if device != "cuda":
        return None
    import torch

    return int(torch.cuda.memory_allocated())


def _reset_peaks(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()


def _failure(error: Exception, lab: Lab, details: dict[str, Any]) -> tuple[str, str]:
    """Turn an exception into a verdict; drops the traceback, whose frames hold tensors."""
    text = first_line(error)
    kind = type(error).__name__
    error.__traceback__ = None
    out_of_memory = kind == "OutOfMemoryError" or isinstance(error, MemoryError)
    if not out_of_memory and "not enough memory" not in text and "can't allocate" not in text:
        return "crash", f"{kind}: {text}"
    asked = re.search(r"[Tt]ried to allocate ([\d.]+ \w+)", str(error))
    number = re.search(r"allocate (\d+) bytes", str(error))
    asked_text = asked.group(1) if asked else f"{number.group(1)} bytes" if number else "unknown"
    free = _free_bytes(lab.device)
    predicted = details["memory"].get("forecast", {}).get("total_bytes")
    details["oom"] = {"asked": asked_text, "free_bytes": free, "forecast_bytes": predicted}
    gib = 2**30
    free_text = f"{free / gib:.2f} GiB" if free is not None else "unknown"
    forecast_text = f"{predicted / gib:.2f} GiB" if predicted is not None else "unknown"
    return "oom", f"asked {asked_text}, free {free_text}, forecast of the whole {forecast_text}"


def _free_bytes(device: str) -> int | None:
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    import psutil

    return int(psutil.virtual_memory().available)


def _texts(caught: list[warnings.WarningMessage]) -> list[str]:
    """Return each different third-party warning once, for the row."""
    texts = (f"{w.category.__name__}: {str(w.message).strip().splitlines()[0][:200]}"
             for w in caught if str(w.message).strip())  # fmt: skip
    return list(dict.fromkeys(texts))[:20]


def _no_stamp() -> None:
    """Take no stamp."""
