"""Continuous batching: each iteration serves all who run, and whoever is done leaves."""

from __future__ import annotations

import numpy as np

from perfkit.batching.theory import chain
from perfkit.batching.theory.bulk import linear_service_s
from perfkit.batching.theory.values import Queue, positive, stable


def saturation_per_s(alpha_s: float, tau0_s: float, slots: int, mean_tokens: float) -> float:
    """Return the requests per second of full slots: C / (mean tokens (alpha C + tau0)).

    Raises ValueError for bad arguments. Source: one token a slot and iteration.
    """
    step = linear_service_s(alpha_s, tau0_s, slots)[-1]
    positive(step_s=step)
    _check_tokens(mean_tokens)
    return slots / (mean_tokens * step)


def continuous(
    rate_per_s: float, alpha_s: float, tau0_s: float, slots: int, mean_tokens: float
) -> Queue:
    """Poisson arrivals, C slots, iterations of alpha n + tau0 s with n running, geometric lengths.

    A request joins at the next iteration's start if a slot is free, gets a token an iteration (its
    prompt costs nothing more), and after each has finished with p = 1 / ``mean_tokens``. With N
    in the system at an iteration's start, N' = N - Bin(min(N, C), p) + Poisson(lambda tau), an
    empty system waiting for an arrival; the chain is solved exactly. ``mean_batch`` is
    E[min(N, C)], ``itl_s`` E[n tau] / E[n], ``wait_s`` to the start of the first iteration.
    Raises ValueError for bad arguments, UnstableError from ``saturation_per_s`` on. Derived from
    the chain as ``bulk.greedy``, which it is at ``mean_tokens`` 1.
    """
    positive(rate_per_s=rate_per_s)
    stable(rate_per_s, saturation_per_s(alpha_s, tau0_s, slots, mean_tokens))
    leave = 1 / mean_tokens
    steps = np.array(linear_service_s(alpha_s, tau0_s, slots))
    law = chain.stationary(np.concatenate(([0.0], rate_per_s * steps)), leave=leave)
    running = np.minimum(law.states, slots)
    tau = steps[running.astype(int) - 1]
    none = np.where(law.states <= slots, leave**running * np.exp(-rate_per_s * tau), 0.0)
    busy, idle = law.expect(tau), law.expect(none) / rate_per_s
    cycle = busy + idle
    arriving = rate_per_s * tau**2 / 2
    queue = law.expect((law.states - running) * tau + arriving) / cycle
    inside = law.expect(law.states * tau + arriving) / cycle
    return Queue(
        served_per_s=rate_per_s,
        wait_s=queue / rate_per_s,
        latency_s=inside / rate_per_s,
        queue_length=queue,
        utilisation=busy / cycle,
        p_idle=idle / cycle,
        p_wait=busy / cycle,
        mean_batch=law.expect(running),
        itl_s=law.expect(running * tau) / law.expect(running),
    )


def _check_tokens(mean_tokens: float) -> None:
    positive(mean_tokens=mean_tokens)
    if mean_tokens < 1:
        raise ValueError(f"mean_tokens must be 1 or more, got {mean_tokens!r}")
