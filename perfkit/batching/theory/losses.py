"""Queues that turn requests away: a limit on the queue, or on the time in it.

Rates are in requests per second, times in seconds. Both have a steady state at any load. Both
raise ValueError for arguments that are negative, NaN or infinite.
"""

from __future__ import annotations

import math

import numpy as np

from perfkit.batching.theory.values import Queue, not_negative, positive, whole


def mm1_limit(rate_per_s: float, service_per_s: float, max_queue: int) -> Queue:
    """Return M/M/1/K with K = ``max_queue`` + 1: an arrival to a full queue is turned away.

    p_n is proportional to (lambda / mu)^n up to K; loss = p_K. ``p_wait`` is of those served.
    ``max_queue`` may be 0. Source: Gross et al., Fundamentals of Queueing Theory, section 2.5.
    """
    positive(rate_per_s=rate_per_s, service_per_s=service_per_s)
    whole(0, max_queue=max_queue)
    inside = np.arange(max_queue + 2)
    logs = inside * math.log(rate_per_s / service_per_s)
    weights = np.exp(logs - np.max(logs))
    p = weights / np.sum(weights)
    served = rate_per_s * float(np.sum(p[:-1]))
    queue = float(np.maximum(inside - 1, 0) @ p)
    return Queue(
        served_per_s=served,
        wait_s=queue / served,
        latency_s=queue / served + 1 / service_per_s,
        queue_length=queue,
        utilisation=float(np.sum(p[1:])),
        p_idle=float(p[0]),
        p_wait=float(np.sum(p[1:-1])) / float(np.sum(p[:-1])),
        mean_batch=1.0,
        loss=float(p[-1]),
    )


def mm1_timeout(rate_per_s: float, service_per_s: float, timeout_s: float) -> Queue:
    """M/M/1 of which whoever has waited ``timeout_s`` is rejected and never served.

    The work ahead of an arrival has density P0 lambda exp(-a x) up to T, a = mu - lambda, and
    falls as exp(-mu x) beyond, which is lost: loss = P0 (lambda / mu) exp(-a T), P0 = 1 / (1 +
    lambda (1 - exp(-a T)) / a + (lambda / mu) exp(-a T)). ``wait_s``, ``latency_s`` and ``p_wait``
    are of those served; ``queue_length`` counts those too who will be rejected, each for T.
    Source: Barrer, Operations Research 5 (1957) 650; Gnedenko and Kovalenko, Introduction to
    Queueing Theory, section 1.3.
    """
    positive(rate_per_s=rate_per_s, service_per_s=service_per_s)
    not_negative(timeout_s=timeout_s)
    load = rate_per_s / service_per_s
    # All three times exp(-shift), so none overflows under overload.
    exponent = (rate_per_s - service_per_s) * timeout_s
    shift = max(0.0, exponent)
    idle, late = math.exp(-shift), load * math.exp(exponent - shift)
    early = rate_per_s * timeout_s * _mean_power(exponent, shift, 0)
    total = idle + early + late
    served = rate_per_s * (idle + early) / total
    wait = rate_per_s * timeout_s**2 * _mean_power(exponent, shift, 1) / (idle + early)
    return Queue(
        served_per_s=served,
        wait_s=wait,
        latency_s=wait + 1 / service_per_s,
        queue_length=served * wait + rate_per_s * late / total * timeout_s,
        utilisation=(early + late) / total,
        p_idle=idle / total,
        p_wait=early / (idle + early),
        mean_batch=1.0,
        loss=late / total,
    )


def _mean_power(exponent: float, shift: float, power: int) -> float:
    """Return the integral of u^power exp(exponent u - shift) over u from 0 to 1, power 0 or 1."""
    if abs(exponent) < 0.01:  # the series; what follows would cancel
        terms = (exponent**k / (math.factorial(k) * (k + 1 + power)) for k in range(8))
        return math.exp(-shift) * sum(terms)
    start, end = math.exp(-shift), math.exp(exponent - shift)
    if power == 0:
        return (end - start) / exponent
    return end / exponent - (end - start) / exponent**2
