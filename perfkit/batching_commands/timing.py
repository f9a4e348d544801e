"""Options of how long batches and steps take, and how long requests are."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from perfkit.batching_commands.arrivals import PROCESSES
from perfkit.batching_commands.grouped import given, not_negative, option
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.batching.continuous_point import Work
    from perfkit.batching.job import AnyPolicy, Batches
    from perfkit.batching.service import Service

_LENGTHS, _STEPS = "Whole batches: service times, and lengths", "Continuous batching: steps"
_MOST_BATCH = 65_536  # the table of service times has a row a size
_STEP_TIME = (12.9, 40.0, 0.0, 73.0)  # as the fields of StepOptions; a recorded vLLM run


@dataclass(frozen=True)
class BatchOptions:
    """How long a whole batch takes, and how long requests are."""

    service: Annotated[Path | None, option(_LENGTHS, "A fit's JSON; with --prompt and --new.")] = (
        None
    )
    base_ms: Annotated[
        float | None, option(_LENGTHS, "Without --service: a batch takes this, in ms (12), and ..")
    ] = None
    each_ms: Annotated[
        float | None, option(_LENGTHS, ".. this for each request in it, in ms (0.8).")
    ] = None
    prompt: Annotated[
        int | None, option(_LENGTHS, "Prompt tokens, or their mean with --prompt-cv; 512.")
    ] = None
    new: Annotated[
        int | None, option(_LENGTHS, "New tokens, or their mean with --new-cv; 128.")
    ] = None

    def given(self) -> list[str]:
        """Return the options of batches that were given."""
        return given(self, "service", "base_ms", "each_ms")

    @property
    def tokens(self) -> tuple[int, int]:
        """Return prompt and new tokens. Raises UsageError for fewer than one, and for too many."""
        from perfkit.batching.lengths import MOST_TOKENS

        prompt = 512 if self.prompt is None else self.prompt
        new = 128 if self.new is None else self.new
        for name, tokens in (("--prompt", prompt), ("--new", new)):
            if not 1 <= tokens <= MOST_TOKENS:
                raise UsageError(f"{name} {tokens}: expected from 1 to {MOST_TOKENS} tokens")
        return prompt, new

    def check_lengths(self) -> None:
        """Refuse lengths that no time depends on."""
        lengths = given(self, "prompt", "new")
        if lengths and self.service is None:
            raise UsageError(
                f"{' and '.join(lengths)}: without --service FIT.json a batch's time knows no "
                "lengths: leave them out, or give a fit"
            )

    def batches(self, most: int) -> tuple[Batches, str]:
        """Return the seconds of batches up to ``most``, and what they are in words."""
        import numpy as np

        from perfkit.batching.job import Batches

        if most > _MOST_BATCH:
            raise UsageError(f"--max-batch {most}: expected at most {_MOST_BATCH} in a whole batch")
        prompt, new = self.tokens
        if self.service is not None:
            if len(self.given()) > 1:
                raise UsageError(f"{' and '.join(self.given())} both say how long a batch takes")
            fitted, shape = _fitted(self.service), (most, prompt, new)
            of = f" ({fitted.of})" if fitted.of else ""
            about = f"{self.service}{of}, prompt {prompt}, new {new}"
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

    step_ms: Annotated[float | None, option(_STEPS, "A step takes this, in ms (12.9), ..")] = None
    token_us: Annotated[
        float | None, option(_STEPS, ".. this for each token in it, in us (40), ..")
    ] = None
    seq_us: Annotated[
        float | None, option(_STEPS, ".. this for each request in it, in us (0), ..")
    ] = None
    context_ns: Annotated[
        float | None, option(_STEPS, ".. and this for each token that these have cached, ns (73).")
    ] = None
    prompt_cv: Annotated[float | None, option(_STEPS, "Of lognormal prompts; 0: all alike.")] = None
    new_cv: Annotated[float | None, option(_STEPS, "The same of new tokens.")] = None

    def given(self) -> list[str]:
        """Return the options of steps that were given."""
        return given(self, *(field.name for field in fields(self)))

    def work(self, prompt: int, new: int) -> tuple[Work, str]:
        """Return the time of a step and the lengths of requests; the time in words."""
        from perfkit.batching.continuous import StepTime
        from perfkit.batching.continuous_point import Work
        from perfkit.batching.loads import Length

        named = (self.step_ms, self.token_us, self.seq_us, self.context_ns)
        numbers = (
            usual if one is None else one for one, usual in zip(named, _STEP_TIME, strict=True)
        )
        step_ms, token_us, seq_us, context_ns = numbers
        for name in ("step_ms", "token_us", "seq_us", "context_ns"):
            not_negative(name, getattr(self, name))
        if not (step_ms or token_us or seq_us or context_ns):
            raise UsageError("a step that takes no time at all has no queue to simulate")
        told = (
            f"{step_ms:g} ms + {token_us:g} us a token + {seq_us:g} us a request + {context_ns:g} "
            "ns a cached token"
        )
        time = StepTime(step_ms / 1e3, token_us / 1e6, seq_us / 1e6, context_ns / 1e9)
        lengths = Length(prompt, self.prompt_cv or 0.0), Length(new, self.new_cv or 0.0)
        return Work(time, *lengths), told


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
    if not any(stepping):
        batch.check_lengths()
    most = max(map(most_together, policies))
    return (
        None if all(stepping) else batch.batches(most),
        step.work(*batch.tokens) if any(stepping) else None,
    )


def lengths(batch: BatchOptions, step: StepOptions) -> dict[str, tuple[object, tuple[str, ...]]]:
    """Return the options of lengths with the arrivals that they are of: a trace brings its own.

    A fit has the lengths of whole batches, which do not take the trace's.
    """
    drawn = (*PROCESSES, "closed")
    fixed = batch if batch.service is None else BatchOptions()
    return {
        "prompt": (fixed.prompt, drawn),
        "new": (fixed.new, drawn),
        "prompt-cv": (step.prompt_cv, drawn),
        "new-cv": (step.new_cv, drawn),
    }


def _fitted(path: Path) -> Service:
    from perfkit.batching.service import Service

    try:
        return Service.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no fit of perfkit batching fit: {error}") from None
