"""A closed loop with one server: N customers who think for exponential times, fixed service."""

from __future__ import annotations

import math

from perfkit.batching.theory.values import Queue, positive, whole


def repairman(clients: int, think_s: float, service_s: float) -> Queue:
    """Machine repairman with constant service, M/D/1//N; exact for any number of customers.

    A busy period begins with one customer and serves K = sum over k < N of C(N - 1, k) times the
    product over j <= k of (e^(j D / Z) - 1) in the mean (Takacs, Introduction to the Theory of
    Queues, 1962, ch. 5), an idle one lasts Z / N. With N = 2, say, it goes on while the other comes
    within D: K = e^(D / Z). The wait follows from Little's law, N / X = Z + W + D.
    """
    whole(clients=clients)
    positive(think_s=think_s, service_s=service_s)
    served, term = 1.0, 1.0
    for k in range(1, clients):
        # Beyond e^700 the server is never idle to float64's precision.
        term *= (clients - k) / k * math.expm1(min(k * service_s / think_s, 700.0))
        served += term
    per_s = 1 / (service_s + think_s / clients / served)
    wait = max(0.0, clients / per_s - think_s - service_s)
    return Queue(
        served_per_s=per_s,
        wait_s=wait,
        latency_s=wait + service_s,
        queue_length=per_s * wait,
        utilisation=per_s * service_s,
        p_idle=1 - per_s * service_s,
    )
