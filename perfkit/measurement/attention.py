"""Attention problems measured: all providers of a problem together, in turns, each figure twice."""

from __future__ import annotations

import re
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from perfkit.attention import inputs, registry
from perfkit.errors import UsageError
from perfkit.measurement.bench import Timed
from perfkit.measurement.watchdog import watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import torch

    from perfkit.attention.problem import Problem
    from perfkit.attention.provider import Provider
    from perfkit.measurement.bench import Bench

CACHES = ("cold", "hot")
TAKES = 2
_UNSTABLE_OVER = 0.02
_STUCK_S = 300.0  # flashinfer compiles for up to three minutes at a first call


@dataclass(frozen=True)
class AttentionCell:
    """One figure: a provider on a problem, L2 flushed before ("cold") or just used ("hot")."""

    provider: str
    problem: Problem
    cache: str

    @property
    def id(self) -> str:
        """As in ``triton/bf16/causal/b8/h32/kv8/q2048/k2048/d128/cold``."""
        return f"{self.provider}/{self.problem.id}/{self.cache}"


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: a verdict always; ``takes_s`` holds the seconds of both takes.

    In the interpreter there is one round, whose seconds say nothing: ``has_speed`` is False.
    """

    verdict: str
    reason: str | None = None
    takes_s: tuple[tuple[float, ...], ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    has_speed: bool = True

    @property
    def samples_s(self) -> tuple[float, ...]:
        """Both takes' seconds, pooled."""
        return tuple(second for take in self.takes_s for second in take)

    def to_json(self, problem: Problem) -> dict[str, Any]:
        """Return the figures of docs/attention.md; rates are None where nothing was timed."""
        timed = self.has_speed and bool(self.samples_s)
        seconds = statistics.median(self.samples_s) if timed else None
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "median_s": seconds,
            "take_medians_s": [statistics.median(take) for take in self.takes_s] if timed else [],
            "rounds": len(self.samples_s),
            "flop_per_s": problem.flops / seconds if seconds else None,
            "kv_bytes_per_s": problem.kv_bytes / seconds if seconds else None,
            **self.details,
        }


def measure_problem(
    problem: Problem, names: Sequence[str], bench: Bench, seed: int = 0
) -> dict[tuple[str, str], Outcome]:
    """Return the outcome of each (provider, cache) on one problem.

    Inputs are N(0, 1), drawn anew for the problem, the same values for all, in each one's own
    memory order. Who cannot run, or computes something else, is left out of the timing. The rest
    take turns round by round, so that a change of clocks meets them all.
    """
    made = _inputs(problem, bench.device, seed)
    outcomes: dict[tuple[str, str], Outcome] = {}
    able: dict[str, tuple[Callable[[], torch.Tensor], dict[str, Any]]] = {}
    for name in names:
        provider = registry.provider(name)
        refused = provider.unavailable(bench.device) or provider.unsupported(problem)
        if refused is not None:
            checked = Outcome("unsupported", refused)
        else:
            with watchdog(_STUCK_S, f"{name} on {problem.id}"):
                checked, call = _check(provider, problem, made, bench)
            if checked.verdict == "ok":
                able[name] = call, dict(checked.details)
        outcomes |= {(name, cache): checked for cache in CACHES}
    with watchdog(_STUCK_S, f"timing {', '.join(able)} on {problem.id}"):
        takes = _takes({name: call for name, (call, _) in able.items()}, bench)
    for (name, cache), seconds in takes.items():
        outcomes[name, cache] = _timed(seconds, able[name][1], bench.times_mean_something)
    return outcomes


def _inputs(problem: Problem, device: torch.device, seed: int) -> tuple[torch.Tensor, ...]:
    import torch

    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    generator = torch.Generator(device).manual_seed(seed)
    shape = (problem.batch, problem.heads, problem.q_len, problem.head_dim)
    shape_kv = (problem.batch, problem.kv_heads, problem.kv_len, problem.head_dim)
    return tuple(
        torch.randn(size, generator=generator, device=device).to(dtypes[problem.dtype])
        for size in (shape, shape_kv, shape_kv)
    )


def _check(
    provider: Provider, problem: Problem, made: Sequence[torch.Tensor], bench: Bench
) -> tuple[Outcome, Callable[[], torch.Tensor]]:
    """Run once: judge the output against fp32, see which kernels ran."""
    import torch

    q, k, v = (inputs.laid_out(x, provider.layout) for x in made)
    scale = inputs.checked_scale(None, problem.head_dim)

    def call() -> torch.Tensor:
        return provider.run(q, k, v, problem.causal, scale)

    try:
        bench.poison(q)
        out = call()
        bench.wait()
        kernels = bench.kernels(call)
    except UsageError as error:
        return Outcome("unsupported", str(error)), call
    except torch.OutOfMemoryError as error:
        return Outcome("oom", str(error).splitlines()[0]), call
    except Exception as error:  # law 5: one provider's failure loses no other's cells
        text = str(error).strip().splitlines()
        return Outcome("crash", f"{type(error).__name__}: {text[0] if text else ''}"), call
    details = {"source": provider.source, "kernels": kernels}
    if kernels and not any(re.search(provider.kernels, name, re.IGNORECASE) for name in kernels):
        return Outcome("unsupported", f"other kernels ran: {', '.join(kernels)}", (), details), call
    worst = _worst(problem, (q, k, v), out, scale)
    details["accuracy"] = worst
    if not worst["ok"]:
        reason = (
            f"max |out - fp32| {worst['max_abs']:.3g} (limit {worst['max_abs_limit']:.3g}), "
            f"relative L2 {worst['rel_l2']:.3g} (limit {worst['rel_l2_limit']:g})"
        )
        reason += ", elements left unwritten or NaN" if worst["nan"] else ""
        return Outcome("diverged", reason, (), details), call
    return Outcome("ok", None, (), details), call


def _worst(
    problem: Problem, made: Sequence[torch.Tensor], out: torch.Tensor, scale: float
) -> dict[str, Any]:
    """Hold the first, a middle and the last head against fp32; any NaN anywhere counts."""
    from perfkit.attention.reference import accuracy, math_same_dtype, reference

    q, k, v = made
    group = problem.heads // problem.kv_heads
    found = []
    for batch, head in _pairs(problem):
        kv_head = head // group
        one_q = q[batch : batch + 1, head : head + 1]
        one_k, one_v = (x[batch : batch + 1, kv_head : kv_head + 1] for x in (k, v))
        exact = reference(one_q, one_k, one_v, problem.causal, scale)
        rounded = math_same_dtype(one_q, one_k, one_v, problem.causal, scale)
        mine = out[batch : batch + 1, head : head + 1]
        found.append(accuracy(mine, exact, rounded))
    worst = max(found, key=lambda one: (not one.ok, one.rel_l2))
    nan = bool(out.isnan().any().item())
    return asdict(worst) | {
        "nan": nan,
        "ok": all(one.ok for one in found) and not nan,
        "heads_checked": len(found),
    }


def _pairs(problem: Problem) -> Iterable[tuple[int, int]]:
    last = (problem.batch - 1, problem.heads - 1)
    return dict.fromkeys([(0, 0), (problem.batch // 2, problem.heads // 2), last])


def _takes(
    calls: Mapping[str, Callable[[], torch.Tensor]], bench: Bench
) -> dict[tuple[str, str], tuple[tuple[float, ...], ...]]:
    """Time every call in every cache state in turns; twice over."""
    turns = {
        (name, cache): Timed(bench.before(call, cache), call)
        for name, call in calls.items()
        for cache in CACHES
    }
    if not turns:
        return {}
    bench.round(list(turns.values()))  # what a first call compiles or looks up
    if bench.times_mean_something:
        rounds, count = bench.rounds(list(turns.values())), TAKES
    else:
        rounds, count = 1, 1
    takes = [list(_rounds(turns, bench, rounds)) for _ in range(count)]
    return {key: tuple(tuple(one[key] for one in take) for take in takes) for key in turns}


def _rounds(
    turns: Mapping[tuple[str, str], Timed], bench: Bench, rounds: int
) -> Iterator[dict[tuple[str, str], float]]:
    for _ in range(rounds):
        yield dict(zip(turns, bench.round(list(turns.values())), strict=True))


def _timed(
    takes_s: tuple[tuple[float, ...], ...], details: dict[str, Any], has_speed: bool
) -> Outcome:
    """Judge a timed cell: its two takes must agree."""
    if not has_speed:
        return Outcome("ok", None, takes_s, details, has_speed=False)
    medians = [statistics.median(take) for take in takes_s]
    apart = max(medians) / min(medians) - 1
    if apart > _UNSTABLE_OVER:
        reason = f"the two takes' medians differ by {apart:.1%}, over {_UNSTABLE_OVER:.0%}"
        return Outcome("unstable", reason, takes_s, details)
    return Outcome("ok", None, takes_s, details)
