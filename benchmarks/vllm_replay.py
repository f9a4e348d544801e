"""Fit a step time on the first third of a recorded vLLM run, and predict the rest.

    python benchmarks/vllm_replay.py FOLDER      # meta.json and requests.jsonl: fixtures/vllm_run

What that run offers is each request's lengths and times. From its first to its last token a request
is in every step, so that span is a sum of steps: c0 times their number, c1 times their tokens, and
so on. The sums come from the steps that the oracle simulates with the fit so far; non-negative
least squares on relative errors gives the next fit, and half of its change is taken, twelve times.
Spans before the first token are left out: they are one or two steps, and a step that the simulation
has elsewhere is then the whole row. Recorded times of other requests than those chosen are not
used; arrivals and lengths of all are. The pool's size was not recorded; memory never was short.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from perfkit.batching.continuous import Requests, StepTime, VllmLike, simulate
from tests.batching import continuous_oracle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

START = StepTime(20e-3, 30e-6, 10e-6, 10e-9)
ROUNDS = 12


class Recorded(NamedTuple):
    """A run: what arrived, and when the first and the last token came, in seconds from its start.

    The engine's clock is moved onto the clients' by the shortest time from arrival to queue.
    """

    requests: Requests
    first_token_s: Floats
    last_token_s: Floats
    policy: VllmLike


def load(folder: Path) -> Recorded:
    """Read a folder with meta.json and requests.jsonl."""
    lines = (folder / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    rows = sorted((json.loads(line) for line in lines), key=lambda row: row["arrival_time"])
    column = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    start = column["arrival_time"][0]
    offset = start + float(np.min(column["queued_ts"] - column["arrival_time"]))
    engine = json.loads((folder / "meta.json").read_text(encoding="utf-8"))["engine_kwargs"]
    return Recorded(
        Requests(column["arrival_time"] - start, column["input_toks"], column["output_toks"]),
        column["first_token_ts"] - offset,
        column["last_token_ts"] - offset,
        VllmLike(
            max_num_seqs=engine["max_num_seqs"],
            token_budget=engine["max_num_batched_tokens"],
            kv_blocks=10**6,
            async_scheduling=True,  # the default of vLLM 0.19, and plain from its times
        ),
    )


def fit(run: Recorded, chosen: NDArray[np.bool_]) -> tuple[StepTime, float]:
    """Return the step time that explains the chosen requests, and its relative residual (rms)."""
    from scipy.optimize import nnls

    found = np.array([*vars(START).values()])
    spans = (run.last_token_s - run.first_token_s)[chosen]
    residual = 0.0
    for _ in range(ROUNDS):
        rows = _sums(run, StepTime(*found.tolist()))[chosen] / spans[:, None]
        scale = rows.max(axis=0)
        coefficients, norm = nnls(rows / scale, np.ones(len(rows)))
        found = (found + coefficients / scale) / 2
        residual = norm / np.sqrt(len(rows))
    return StepTime(*found.tolist()), float(residual)


def _sums(run: Recorded, step_time: StepTime) -> Floats:
    """Of each request: steps, tokens, sequences and context from its first token to its last."""
    told = continuous_oracle.run(run.requests, run.policy, step_time)
    each = [(1, step.tokens, step.seqs, step.context) for step in told.steps]
    total = np.cumsum(each, axis=0, dtype=np.float64)
    ends = [step.end for step in told.steps]
    first = np.searchsorted(ends, [job.token_times[0] for job in told.jobs])
    last = np.searchsorted(ends, [job.token_times[-1] for job in told.jobs])
    return total[last] - total[first]


def errors(run: Recorded, step_time: StepTime, chosen: NDArray[np.bool_]) -> dict[str, Floats]:
    """Return, of TTFT, TPOT and e2e, the relative error of the mean and of the 90th percentile.

    The third and fourth figure are the mean and the 90th percentile of the requests' own errors.
    """
    told = simulate(run.requests, run.policy, step_time)
    mine = _latencies(run.requests, told.first_token_s, told.finish_s)
    theirs = _latencies(run.requests, run.first_token_s, run.last_token_s)
    found = {}
    for name, values in theirs.items():
        real, predicted = values[chosen], mine[name][chosen]
        own = np.abs(predicted / real - 1)
        found[name] = np.array(
            [
                predicted.mean() / real.mean() - 1,
                np.quantile(predicted, 0.9) / np.quantile(real, 0.9) - 1,
                own.mean(),
                np.quantile(own, 0.9),
            ]
        )
    return found


def _latencies(requests: Requests, first: Floats, last: Floats) -> dict[str, Floats]:
    return {
        "TTFT": first - requests.arrival_s,
        "TPOT": (last - first) / (requests.new_tokens - 1),
        "e2e": last - requests.arrival_s,
    }


def report(run: Recorded, name: str, chosen: NDArray[np.bool_]) -> str:
    """Fit on the chosen, predict the others, and say how well."""
    step_time, residual = fit(run, chosen)
    lines = [
        f"{name}: {int(chosen.sum())} requests, residual {residual:.2%}",
        (
            f"  {step_time.c0_s * 1e3:.2f} ms + {step_time.per_token_s * 1e6:.1f} us a token"
            f" + {step_time.per_seq_s * 1e6:.1f} us a sequence"
            f" + {step_time.per_context_token_s * 1e9:.1f} ns a context token"
        ),
        f"  of the other {int((~chosen).sum())}   mean      p90   own error: mean      p90",
    ]
    for metric, (mean, p90, own, own_p90) in errors(run, step_time, ~chosen).items():
        lines.append(f"  {metric:12s} {mean:+9.2%} {p90:+8.2%} {own:17.2%} {own_p90:8.2%}")
    return "\n".join(lines)


def main(folder: Path) -> str:
    """Report the fit on the first third of the requests, and stricter ones."""
    run = load(folder)
    count = len(run.first_token_s)
    third = np.arange(count) < count // 3
    ended = run.last_token_s < run.last_token_s.max() / 3
    at_once = run._replace(policy=VllmLike(run.policy.max_num_seqs, run.policy.token_budget, 10**6))
    return "\n".join(
        (
            report(run, "first third of the requests", third),
            report(run, "ended within the first third of the time", ended),
            report(at_once, "first third of the requests, scheduling not async", third),
        )
    )


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))  # noqa: T201
