"""How much throughput MAX_UTILIZATION loses against GUARANTEED_NO_EVICT as KV memory runs short.

    python benchmarks/max_utilization.py

The load is that of TensorRT-LLM issue #16827 (W-C: 128 requests of 16,384 prompt and 512 new
tokens, 32 at a time; reported 161.0 against 96.2 tokens/s, -40 %), simulated; and the same with 64
new tokens, where prefill weighs more. The closed loop of 32 is 128 requests at once and 32 seats:
first come first served, a seat is refilled when one ends. Pool and step times are not in the
report. The times here are round numbers from data sheets, which nobody measured: 70 GB of weights
at 4.8 TB/s (15 ms a step), 140 GFLOP a token at half of 2 PFLOP/s (0.14 ms), 0.16 MB of FP8 KV a
context token (34 ns). Oversubscription is what 32 requests hold at their end over the pool. Each
row is the pool that costs MAX_UTILIZATION most among some that hold a whole number of prompts and a
part of what these grow by, so that it admits one request too many; elsewhere the policies hardly
differ.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from perfkit.batching.continuous import Requests, Run, StepTime, TrtLlm, simulate

REQUESTS, SEATS, PROMPT, BLOCK = 128, 32, 16_384, 32
PARTS = (0.02, 0.25, 0.5, 0.75)
STEP_TIME = StepTime(15e-3, 0.14e-3, 0.0, 34e-9)


class Point(NamedTuple):
    """Both policies on one pool."""

    prompts: int
    blocks: int
    calm: Run
    greedy: Run

    @property
    def loss(self) -> float:
        """Share of throughput, first arrival to last finish, that MAX_UTILIZATION loses."""
        return 1 - float(self.calm.finish_s.max() / self.greedy.finish_s.max())


def measured(capacity: str, blocks: int, new: int) -> Run:
    """Run one policy on one pool."""
    policy = TrtLlm(
        capacity,
        max_batch_size=SEATS,
        max_num_tokens=8192,
        kv_blocks=blocks,
        tokens_per_block=BLOCK,
        chunk_unit=BLOCK,
    )
    requests = Requests(np.zeros(REQUESTS), np.full(REQUESTS, PROMPT), np.full(REQUESTS, new))
    return simulate(requests, policy, STEP_TIME)


def worst(prompts: int, new: int) -> Point:
    """Return the pool for ``prompts`` prompts on which MAX_UTILIZATION loses most."""
    points = []
    for part in PARTS:
        blocks = prompts * PROMPT // BLOCK + max(1, int(prompts * new / BLOCK * part))
        calm = measured("GUARANTEED_NO_EVICT", blocks, new)
        points.append(Point(prompts, blocks, calm, measured("MAX_UTILIZATION", blocks, new)))
    return max(points, key=lambda point: point.loss)


def tpot_p99(run: Run, new: int) -> float:
    """Seconds a token after the first, the 99th percentile of requests."""
    return float(np.quantile((run.finish_s - run.first_token_s) / (new - 1), 0.99))


def table(new: int) -> str:
    """Return a row a number of prompts, the largest loss, and where it first reaches 40 %."""
    lines = [
        f"{PROMPT} prompt and {new} new tokens",
        "oversub  prompts  blocks  no-evict t/s  max-util t/s   loss  pauses  recomputed  TPOT p99",
    ]
    losses: list[tuple[float, float]] = []
    for prompts in range(SEATS, 1, -1):
        point = worst(prompts, new)
        calm, greedy = point.calm, point.greedy
        over = SEATS * -(-(PROMPT + new) // BLOCK) / point.blocks
        losses.append((over, point.loss))
        lines.append(
            f"{over:7.2f} {prompts:8d} {point.blocks:7d}"
            f" {REQUESTS * new / calm.finish_s.max():13.1f}"
            f" {REQUESTS * new / greedy.finish_s.max():13.1f} {point.loss:6.1%}"
            f" {int(greedy.preemptions.sum()):7d}"
            f" {greedy.recomputed_tokens / (REQUESTS * PROMPT):10.2f}x"
            f" {tpot_p99(greedy, new) / tpot_p99(calm, new):8.1f}x"
        )
    over, loss = max(losses, key=lambda pair: pair[1])
    reached = next((over for over, loss in losses if loss >= 0.4), None)
    first = "not reached" if reached is None else f"first reached at {reached:.2f}"
    lines.append(f"largest loss {loss:.1%} at {over:.2f}; a loss of 40 % is {first}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(512), table(64), sep="\n")  # noqa: T201
