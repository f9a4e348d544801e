"""Options of the commands that simulate, as frozen values, and what they build.

A command takes such a value as a parameter; ``grouped`` shows its fields to typer as options. An
option that is None was not given.
"""

from __future__ import annotations

import inspect
import json
import math
import typing
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

import typer

from perfkit.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.batching.continuous_point import Work
    from perfkit.batching.fleet import Routing
    from perfkit.batching.job import AnyPolicy, Batches
    from perfkit.batching.loads import Closed, Length, Load, Process, Replay, Think
    from perfkit.batching.service import Service

PROCESSES = ("poisson", "deterministic", "gamma", "mmpp")
ARRIVALS = (*PROCESSES, "closed", "trace")


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Show typer the fields of a command's dataclass parameters as options of the command."""
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    shown: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            kept = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            shown[name] = kept
            continue
        annotations = typing.get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            shown[field.name] = inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=annotations[field.name],
            )

    def run(**given: Any) -> None:
        made = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        command(**made, **given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {name: parameter.annotation for name, parameter in shown.items()}
    run.__signature__ = inspect.Signature(list(shown.values()))  # type: ignore[attr-defined]
    return run


def _option(panel: str, words: str, **more: Any) -> Any:
    return typer.Option(help=words, rich_help_panel=panel, **more)


_LENGTHS, _STEPS = "Whole batches: service times, and lengths", "Continuous batching: steps"
_ARRIVALS, _RULES = "Arrivals", "The policy's rules"
_FLEET = "A fleet of replicas (dynamic)"
_STEP_TIME = (12.9, 40.0, 0.0, 73.0)  # as the fields of StepOptions; a recorded vLLM run


@dataclass(frozen=True)
class BatchOptions:
    """How long a whole batch takes, and how long requests are."""

    service: Annotated[Path | None, _option(_LENGTHS, "A fit's JSON; with --prompt and --new.")] = (
        None
    )
    base_ms: Annotated[
        float | None, _option(_LENGTHS, "Without --service: a batch takes this, in ms (12), and ..")
    ] = None
    each_ms: Annotated[
        float | None, _option(_LENGTHS, ".. this for each request in it, in ms (0.8).")
    ] = None
    prompt: Annotated[int, _option(_LENGTHS, "Prompt tokens; their mean with --prompt-cv.")] = 512
    new: Annotated[int, _option(_LENGTHS, "New tokens; their mean with --new-cv.")] = 128

    def given(self) -> list[str]:
        """Return the options of batches that were given."""
        return _given(self, "service", "base_ms", "each_ms")

    def batches(self, most: int) -> tuple[Batches, str]:
        """Return the seconds of batches up to ``most``, and what they are in words."""
        import numpy as np

        from perfkit.batching.job import Batches

        for name, tokens in (("--prompt", self.prompt), ("--new", self.new)):
            if tokens < 1:
                raise UsageError(f"{name} {tokens}: expected 1 token or more")
        if self.service is not None:
            if len(self.given()) > 1:
                raise UsageError(f"{' and '.join(self.given())} both say how long a batch takes")
            fitted, shape = _fitted(self.service), (most, self.prompt, self.new)
            about = f"{self.service}, prompt {self.prompt}, new {self.new}"
            return Batches(fitted.table(*shape), fitted.split(*shape)), about
        base = 12.0 if self.base_ms is None else self.base_ms
        each = 0.8 if self.each_ms is None else self.each_ms
        if not (0 <= base < math.inf and 0 <= each < math.inf and base + each > 0):
            raise UsageError(
                f"a batch of {base} ms and {each} ms each: expected finite numbers >= 0, one > 0"
            )
        seconds = np.array([0.0, *((base + each * b) / 1e3 for b in range(1, most + 1))])
        return Batches(seconds), f"{base:g} ms + {each:g} ms a request"


@dataclass(frozen=True)
class StepOptions:
    """How long a step of continuous batching takes, and how lengths spread.

    The defaults are what docs/batching-continuous.md fits to a recorded vLLM run.
    """

    step_ms: Annotated[float | None, _option(_STEPS, "A step takes this, in ms (12.9), ..")] = None
    token_us: Annotated[
        float | None, _option(_STEPS, ".. this for each token in it, in us (40), ..")
    ] = None
    seq_us: Annotated[
        float | None, _option(_STEPS, ".. this for each request in it, in us (0), ..")
    ] = None
    context_ns: Annotated[
        float | None, _option(_STEPS, ".. and this for each token that these have cached, ns (73).")
    ] = None
    prompt_cv: Annotated[float | None, _option(_STEPS, "Of lognormal prompts; 0: all alike.")] = (
        None
    )
    new_cv: Annotated[float | None, _option(_STEPS, "The same of new tokens.")] = None

    def given(self) -> list[str]:
        """Return the options of steps that were given."""
        return _given(self, *(field.name for field in fields(self)))

    def work(self, prompt: int, new: int) -> tuple[Work, str]:
        """Return the time of a step and the lengths of requests, and what they are in words."""
        from perfkit.batching.continuous import StepTime
        from perfkit.batching.continuous_point import Work
        from perfkit.batching.loads import Length

        named = (self.step_ms, self.token_us, self.seq_us, self.context_ns)
        numbers = (
            usual if one is None else one for one, usual in zip(named, _STEP_TIME, strict=True)
        )
        step_ms, token_us, seq_us, context_ns = numbers
        if not (step_ms or token_us or seq_us or context_ns):
            raise UsageError("a step that takes no time at all has no queue to simulate")
        prompts = Length(prompt, self.prompt_cv or 0.0)
        news = Length(new, self.new_cv or 0.0)
        told = (
            f"{step_ms:g} ms + {token_us:g} us a token + {seq_us:g} us a request + {context_ns:g} "
            f"ns a cached token, prompt {_length(prompts)}, new {_length(news)}"
        )
        time = StepTime(step_ms / 1e3, token_us / 1e6, seq_us / 1e6, context_ns / 1e9)
        return Work(time, prompts, news), told


Services: TypeAlias = "tuple[tuple[Batches, str] | None, tuple[Work, str] | None]"


def services(batch: BatchOptions, step: StepOptions, policies: Sequence[AnyPolicy]) -> Services:
    """Return what batches take and what steps take, each where one of the policies needs it.

    Raises UsageError for options that none of them uses.
    """
    from perfkit.batching.continuous import TrtLlm, VllmLike
    from perfkit.batching.job import most_together

    stepping = [isinstance(policy, VllmLike | TrtLlm) for policy in policies]
    if not any(stepping) and step.given():
        raise UsageError(
            f"{', '.join(step.given())}: of continuous batching alone; a whole batch's time is by "
            "--service, or by --base-ms and --each-ms, and its requests are alike"
        )
    if all(stepping) and batch.given():
        raise UsageError(
            f"{', '.join(batch.given())}: of whole batches alone; continuous batching takes "
            "--step-ms, --token-us, --seq-us and --context-ns"
        )
    most = max(map(most_together, policies))
    return (
        None if all(stepping) else batch.batches(most),
        step.work(batch.prompt, batch.new) if any(stepping) else None,
    )


def _given(options: Any, *names: str) -> list[str]:
    return [_flag(name) for name in names if getattr(options, name) is not None]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class ArrivalOptions:
    """How requests come, but for their rate."""

    arrival: Annotated[str, _option(_ARRIVALS, f"One of {', '.join(ARRIVALS)}.")] = "poisson"
    requests: Annotated[int, _option(_ARRIVALS, "Requests a seed.")] = 100_000
    cv: Annotated[float | None, _option(_ARRIVALS, "gamma: of the gaps; 1 is Poisson.")] = None
    phase_rates: Annotated[
        tuple[float, float] | None,
        _option(_ARRIVALS, "mmpp: rates of its two phases relative to each other, as in 4 1."),
    ] = None
    phase_s: Annotated[
        tuple[float, float] | None, _option(_ARRIVALS, "mmpp: how long each lasts in the mean, s.")
    ] = None
    think_ms: Annotated[
        float | None, _option(_ARRIVALS, "closed: time from an answer to the next request; 0.")
    ] = None
    think: Annotated[str | None, _option(_ARRIVALS, "closed: exponential (default) or fixed.")] = (
        None
    )
    trace: Annotated[
        Path | None, _option(_ARRIVALS, "trace: CSV or Parquet, Azure's columns or ours.")
    ] = None

    def check(self, others: dict[str, tuple[object, tuple[str, ...]]]) -> None:
        """Refuse an unknown process, and options of another; ``others``: value and processes."""
        if self.arrival not in ARRIVALS:
            raise UsageError(unknown("arrival process", self.arrival, ARRIVALS))
        mine = {
            "cv": (self.cv, ("gamma",)),
            "phase-rates": (self.phase_rates, ("mmpp",)),
            "phase-s": (self.phase_s, ("mmpp",)),
            "think-ms": (self.think_ms, ("closed",)),
            "think": (self.think, ("closed",)),
            "trace": (self.trace, ("trace",)),
        }
        for name, (value, processes) in {**mine, **others}.items():
            if value is not None and self.arrival not in processes:
                raise UsageError(
                    f"--{name} is of {', '.join(processes)}, and arrivals are {self.arrival}: "
                    "leave it out, or choose another --arrival"
                )

    def open(self, rate_per_s: float) -> Load:
        """Return open arrivals at a rate."""
        from perfkit.batching.loads import Bursts, Load

        bursts = None
        if self.arrival == "mmpp":
            if self.phase_rates is None or self.phase_s is None:
                raise UsageError("mmpp needs --phase-rates and --phase-s, two numbers each")
            bursts = Bursts(self.phase_rates, self.phase_s)
        cv = 1.0 if self.cv is None else self.cv
        return Load(cast("Process", self.arrival), rate_per_s, self.requests, cv, bursts)

    def closed(self, clients: int) -> Closed:
        """Return a closed loop of so many customers."""
        from perfkit.batching.loads import Closed

        think = cast("Think", self.think or "exponential")
        return Closed(clients, self.requests, (self.think_ms or 0.0) / 1e3, think)

    def replay(self) -> Replay:
        """Return the recorded trace."""
        from perfkit.batching.loads import Replay
        from perfkit.batching.traces import read_trace

        if self.trace is None:
            raise UsageError("--arrival trace needs --trace FILE, CSV or Parquet")
        return Replay(read_trace(self.trace), str(self.trace))


@dataclass(frozen=True)
class RuleOptions:
    """The rules of a policy but for its largest batch and delay; each policy has some of them."""

    instances: Annotated[
        int | None, _option(_RULES, "static, dynamic, one-by-one: servers of one queue; 1.")
    ] = None
    preferred: Annotated[
        list[int] | None, _option(_RULES, "dynamic: a size sent without waiting; repeatable.")
    ] = None
    max_queue: Annotated[
        int | None, _option(_RULES, "dynamic: requests waiting at which the next is refused.")
    ] = None
    timeout_ms: Annotated[float | None, _option(_RULES, "dynamic: the longest wait.")] = None
    timeout_action: Annotated[str | None, _option(_RULES, "dynamic: reject or delay.")] = None
    preserve_ordering: Annotated[
        bool | None, _option(_RULES, "dynamic: answers in the order of arrival.")
    ] = None
    prefetch: Annotated[
        bool | None, _option(_RULES, "dynamic: batches formed ahead, as Triton's code does.")
    ] = None
    at_end: Annotated[
        str | None, _option(_RULES, "static, dynamic: flush or strand the last few.")
    ] = None
    tie: Annotated[
        str | None, _option(_RULES, "static, dynamic: arrivals_first or dispatch_first.")
    ] = None
    token_budget: Annotated[
        int | None, _option(_RULES, "vllm, trtllm: most tokens of a step; 2048.")
    ] = None
    kv_blocks: Annotated[int | None, _option(_RULES, "vllm, trtllm: KV blocks; 30000.")] = None
    block_size: Annotated[
        int | None, _option(_RULES, "vllm, trtllm: tokens a block; 16 and 32.")
    ] = None
    chunked_prefill: Annotated[bool | None, _option(_RULES, "vllm: cut prompts; on.")] = None
    long_prefill_threshold: Annotated[
        int | None, _option(_RULES, "vllm: most prompt tokens of a request in a step.")
    ] = None
    full_sequence_must_fit: Annotated[
        bool | None, _option(_RULES, "vllm: admit with blocks for the whole prompt alone.")
    ] = None
    watermark_blocks: Annotated[
        int | None, _option(_RULES, "vllm: blocks kept free on admission.")
    ] = None
    max_model_len: Annotated[int | None, _option(_RULES, "vllm: longest sequence.")] = None
    async_scheduling: Annotated[
        bool | None, _option(_RULES, "vllm: schedule a step when the one before starts.")
    ] = None
    chunk_unit: Annotated[
        int | None, _option(_RULES, "trtllm: contexts are cut in units of so many tokens.")
    ] = None
    chunking: Annotated[
        str | None,
        _option(_RULES, "trtllm: FIRST_COME_FIRST_SERVED or EQUAL_PROGRESS."),
    ] = None
    replicas: Annotated[int | None, _option(_FLEET, "Servers with a queue each.")] = None
    routing: Annotated[
        str | None, _option(_FLEET, "random, round-robin, shortest, power-of-d (default).")
    ] = None

    def build(
        self, kinds: Sequence[str], max_batch: Sequence[int], delay_ms: Sequence[float] | None
    ) -> tuple[AnyPolicy, ...]:
        """Return the policies of these kinds, each with every largest batch and delay it can have.

        Raises UsageError for an unknown kind, for what a policy refuses, and for an option that
        none of the kinds has.
        """
        from perfkit.batching.job import KINDS

        for kind in kinds:
            if kind not in KINDS:
                raise UsageError(unknown("policy", kind, KINDS))
        self._check(kinds, delay_ms)
        delays = delay_ms if delay_ms is not None else (0.0,)
        found: list[AnyPolicy] = []
        for most in max_batch:
            for kind in kinds:
                for delay in delays if kind == "dynamic" else (0.0,):
                    policy = self._policy(kind, most, delay)
                    if policy not in found:
                        found.append(policy)
        return tuple(found)

    def _given(self) -> dict[str, Any]:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None}

    def _check(self, kinds: Sequence[str], delay_ms: Sequence[float] | None) -> None:
        asked = {*self._given(), *(("delay_ms",) if delay_ms is not None else ())}
        many = self.replicas is not None
        taken = set().union(*(_taken(kind, many=many) for kind in kinds))
        for name in sorted(asked - taken):
            raise UsageError(
                f"{_flag(name)} is no option of {', '.join(kinds)}"
                f"{' in a fleet' if many else ''}: leave it out, or choose another --policy"
            )
        if many and set(kinds) != {"dynamic"}:
            raise UsageError(f"a fleet is of dynamic replicas, not of {', '.join(kinds)}")

    def _policy(self, kind: str, most: int, delay_ms: float) -> AnyPolicy:
        from perfkit.batching.continuous import TrtLlm, VllmLike
        from perfkit.batching.fleet import Fleet
        from perfkit.batching.job import CAPACITY
        from perfkit.batching.policies import Dynamic, OneByOne, Static

        given = {
            name: value
            for name, value in self._given().items()
            if name in _taken(kind, many=self.replicas is not None)
        }
        budget, blocks = given.pop("token_budget", 2048), given.pop("kv_blocks", 30_000)
        if kind == "one-by-one":
            return OneByOne(**given)
        if kind == "static":
            return Static(most, **given)
        if kind == "vllm":
            return VllmLike(most, budget, blocks, **given)
        if kind in CAPACITY:
            if "block_size" in given:
                given["tokens_per_block"] = given.pop("block_size")
            return TrtLlm(CAPACITY[kind], most, budget, blocks, **given)
        if self.replicas is not None:
            routing = cast("Routing", self.routing or "power-of-d")
            return Fleet(self.replicas, routing, most, delay_ms / 1e3)
        if "timeout_ms" in given:
            given["timeout_s"] = given.pop("timeout_ms") / 1e3
        given["preferred"] = tuple(given.get("preferred", ()))
        return Dynamic(most, delay_ms / 1e3, **given)


_TAKEN = {
    "one-by-one": {"instances"},
    "static": {"instances", "at_end", "tie"},
    "dynamic": {
        "delay_ms", "instances", "preferred", "max_queue", "timeout_ms", "timeout_action",
        "preserve_ordering", "prefetch", "at_end", "tie",
    },
    "vllm": {
        "token_budget", "kv_blocks", "block_size", "chunked_prefill", "long_prefill_threshold",
        "full_sequence_must_fit", "watermark_blocks", "max_model_len", "async_scheduling",
    },
    "trtllm": {"token_budget", "kv_blocks", "block_size", "chunk_unit", "chunking"},
}  # fmt: skip


def _taken(kind: str, *, many: bool) -> set[str]:
    """Return the options that a kind of policy has."""
    if many:
        return {"delay_ms", "replicas", "routing"}
    return _TAKEN["trtllm" if kind.startswith("trtllm") else kind]


def _length(length: Length) -> str:
    return f"{length.mean:g}" + (f" (cv {length.cv:g})" if length.cv else "")


def _fitted(path: Path) -> Service:
    from perfkit.batching.service import Service

    try:
        return Service.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no fit of perfkit batching fit: {error}") from None
