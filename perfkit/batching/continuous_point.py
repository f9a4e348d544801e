"""Continuous batching under one load: simulated over independent seeds, with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching.continuous import (
    FINISHED,
    REJECTED_BUDGET,
    REJECTED_LENGTH,
    Requests,
    Run,
    StepTime,
    TrtLlm,
    VllmLike,
    simulate,
    simulate_closed,
)
from perfkit.batching.estimate import marks, marks_of, over_seeds
from perfkit.batching.lengths import NEW_TOKENS, PROMPT_TOKENS
from perfkit.batching.loads import AnyLoad, Closed, Length, Replay, warm_up
from perfkit.batching.point import Point, is_stable, rates, window
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Tokens = NDArray[np.int64]

# Houses full in a run that asks how much is served when nobody is missing, and the fewest requests:
# drawn lengths of few would say little of the others.
_FULL, _FEWEST = 20, 4_000


@dataclass(frozen=True)
class Work:
    """How long requests are, but for those of a trace, and how long a step takes."""

    step_time: StepTime
    prompt: Length
    new: Length

    @property
    def drawn(self) -> bool:
        """Whether another seed is another sample."""
        return self.prompt.cv > 0 or self.new.cv > 0

    def lengths(self, load: AnyLoad | None, number: int, seed: int) -> tuple[Tokens, Tokens]:
        """Return prompt and new tokens of ``number`` requests; a trace's own, over and over."""
        if isinstance(load, Replay):
            trace = load.trace
            return np.resize(trace.prompt_tokens, number), np.resize(trace.new_tokens, number)
        return (
            self.prompt.draw(number, seed, of=PROMPT_TOKENS),
            self.new.draw(number, seed, of=NEW_TOKENS),
        )


def point(
    policy: VllmLike | TrtLlm,
    load: AnyLoad,
    work: Work,
    *,
    seeds: int = 10,
    slo_s: float | None = None,
) -> Point:
    """Simulate ``seeds`` independent runs; one where no seed changes anything, as with a trace.

    Waits are to the first step that computes a request, latencies to the last token. Goodput counts
    requests whose latency is ``slo_s`` or less. ITL is of all tokens of a run, the first requests'
    too. Raises UsageError where a seed has every request rejected.
    """
    drawn = load.drawn or (not isinstance(load, Replay) and work.drawn)
    rows, errors = [], []
    for seed in range(seeds if drawn else 1):
        prompt, new = work.lengths(load, load.requests, seed)
        if isinstance(load, Closed):
            run = simulate_closed(load.loop(seed), prompt, new, policy, work.step_time)
        else:
            run = simulate(Requests(load.times(seed), prompt, new), policy, work.step_time)
        rows.append(_row(run, policy, new, load, slo_s))
        errors.append(run.little_error)
    saturation = saturation_per_s(policy, load, work)
    return Point(
        policy=policy,
        load=load,
        seeds=len(rows),
        figures=over_seeds(rows, alone=not drawn),
        batch_sizes=None,
        saturation_per_s=saturation,
        stable=is_stable(load, saturation),
        little_error=max(errors),
        theory_wait_s=None,
    )


def saturation_per_s(policy: VllmLike | TrtLlm, load: AnyLoad | None, work: Work) -> float:
    """Return the arrivals a second that are kept up with: simulated, seed 0.

    Twenty times as many requests as there are seats, 4,000 at least, come at once. Those that end
    after the first tenth, in as many whole houses as end before the last tenth, are counted, and
    with them their share of those rejected at once. Prefill, KV blocks and preemptions are thus in
    it. Many end at one instant: those of the first instant are no part of it, those of the last
    all are.
    """
    seats = policy.max_num_seqs if isinstance(policy, VllmLike) else policy.max_batch_size
    number = max(_FULL * seats, _FEWEST)
    prompt, new = work.lengths(load, number, 0)
    run = simulate(Requests(np.zeros(number), prompt, new), policy, work.step_time)
    ends = np.sort(run.finish_s[run.outcome == FINISHED])
    if not len(ends):
        raise UsageError(_nothing(policy, run))
    low, high = len(ends) // 10, len(ends) - 1 - len(ends) // 10
    houses = (high - low) // seats * seats or high - low
    begin, end = float(ends[low]), float(ends[low + houses])
    # Where the few that fit end together, the whole run says it.
    begin, end = (begin, end) if end > begin else (0.0, float(ends[-1]))
    per_s = int(((ends > begin) & (ends <= end)).sum()) / (end - begin)
    return per_s * number / len(ends)


def _row(
    run: Run, policy: VllmLike | TrtLlm, new: Tokens, load: AnyLoad, slo_s: float | None
) -> dict[str, float]:
    """Return one seed's figures, its first arrivals left out of all but ITL and utilisation."""
    first = warm_up(load)
    ended = run.outcome == FINISHED
    if not ended[first:].any():
        raise UsageError(_nothing(policy, run))
    kept = ended.copy()
    kept[:first] = False
    latency = run.finish_s - run.arrival_s
    inside, span_s = window(load, run.arrival_s, run.finish_s, ended)
    whole = float(run.finish_s[ended].max() - run.arrival_s[ended][0])
    return {
        **marks("wait", (run.first_scheduled_s - run.arrival_s)[kept]),
        **marks("latency", latency[kept]),
        **marks("ttft", (run.first_token_s - run.arrival_s)[kept]),
        **marks_of("itl", run.itl),
        **rates(latency[inside], span_s, slo_s),
        "output_tokens_per_s": float(new[inside].sum()) / span_s,
        "utilisation": run.busy_s / whole if whole > 0 else math.nan,
        "preemptions": float(run.preemptions[kept].mean()),
        "reject_rate": 1 - float(ended[first:].mean()),
        "timeout_rate": 0.0,
        "stranded_rate": 0.0,
    }


def _nothing(policy: VllmLike | TrtLlm, run: Run) -> str:
    """Say why every request is rejected, by the reason that most have."""
    code = int(np.bincount(run.outcome).argmax())
    if code == REJECTED_LENGTH:
        why, more = f"max_model_len {getattr(policy, 'max_model_len', 0)}", "a larger one"
    elif code == REJECTED_BUDGET:
        why, more = "the token budget of a step, without chunks", "a larger one, chunks"
    else:
        why, more = f"the {policy.kv_blocks} KV blocks there are", "more of them"
    return f"every request is rejected as too large for {why}: give {more} or shorter requests"
