"""Closed loops in numba: customers who send again a think time after each answer.

Who thinks is a heap of (time of the next request, customer): at one instant the lower number comes
first. The think time after the answer to request r is ``thinks[clients + r]``, and before a
customer's first request ``thinks[customer]``. Import it lazily: it imports numba. The callers are
``perfkit.batching.closed`` and the kernels of continuous batching.
"""

import heapq

import numpy as np

from perfkit.batching.compiling import njit


@njit(cache=True)
def begin(clients, thinks):
    """Return the heap before anything came."""
    coming = [(thinks[one], one) for one in range(clients)]
    heapq.heapify(coming)
    return coming


@njit(cache=True)
def answered(coming, clients, thinks, customer, r, now):
    """Request ``r`` has its answer at ``now``: its customer thinks."""
    heapq.heappush(coming, (now + thinks[clients + r], customer[r]))


@njit(cache=True)
def arrive(coming, clients, thinks, arrival, customer, outcome, made, upto):
    """Make the arrivals that come until ``upto``; those refused are answered at once."""
    while made < len(arrival) and len(coming) > 0 and coming[0][0] <= upto:
        arrival[made], customer[made] = heapq.heappop(coming)
        if outcome[made] != 0:
            answered(coming, clients, thinks, customer, made, arrival[made])
        made += 1
    return made


@njit(cache=True, nogil=True)
def plain(clients, thinks, B, T, c, flush, late, tau, arrival, dispatch, finish, batch, counts):
    """Batches by size and delay alone; return requests served, and Little's integral and its end.

    As ``dynamic_kernel.fifo``, in order of time: arrivals at an instant before a dispatch at it, or
    after (``late``).
    """
    n = len(arrival)
    coming = begin(clients, thinks)
    customer = np.empty(n, np.int64)
    free = np.full(c, -np.inf)
    made = head = number = 0
    area = last = 0.0
    while True:
        go = np.inf
        if head < made:
            last_came = flush and made == n and np.isinf(T)
            go = arrival[n - 1] if last_came else arrival[head] + T
            if made - head >= B:
                go = min(go, arrival[head + B - 1])
            f = np.argmin(free)
            go = max(go, free[f])
        next_s = coming[0][0] if made < n and len(coming) > 0 else np.inf
        if next_s == np.inf and go == np.inf:
            return head, area, last
        if next_s < go or (next_s == go and not late):
            area += (made - head) * (next_s - last)
            last = next_s
            arrival[made], customer[made] = heapq.heappop(coming)
            made += 1
            continue
        area += (made - head) * (go - last)
        last = go
        size = min(made - head, B)
        end = go + tau[size]
        for r in range(head, head + size):
            dispatch[r] = go
            finish[r] = end
            batch[r] = number
            answered(coming, clients, thinks, customer, r, end)
        free[f] = end
        counts[size] += 1
        number += 1
        head += size
