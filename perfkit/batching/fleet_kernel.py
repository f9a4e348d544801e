"""The kernel of ``fleet``: servers under one clock, each advanced when it is looked at.

The state of all is one tuple of arrays: of each replica the number waiting, the oldest of them, the
number served, when it is free, and the time integral of those waiting with the time that it reaches
to; of each request the next of its queue, dispatch and finish. Numbers and places are int32, so that
more replicas fit into a core's cache: there may be 2^31 - 2 requests.
"""

import numpy as np

from perfkit.batching.compiling import njit

RANDOM, ROUND_ROBIN, SHORTEST = 0, 1, 2


@njit(cache=True)
def _advance(r, until, state, arrival, tau, most, delay):
    """Do all dispatches of replica ``r`` before ``until``; one at that instant waits for arrivals."""
    waiting, oldest, _, free_s, _, _, _, _ = state
    while waiting[r] > 0:
        start = free_s[r]
        if waiting[r] < most:
            start = max(start, arrival[oldest[r]] + delay)
        if start >= until:
            break
        _dispatch(r, start, state, tau, most)


@njit(cache=True)
def _dispatch(r, start, state, tau, most):
    waiting, oldest, serving, free_s, area, following, dispatch, finish = state
    batch = min(waiting[r], most)
    end = start + tau[batch]
    one = oldest[r]
    for _ in range(batch):
        dispatch[one] = start
        finish[one] = end
        one = following[one]
    oldest[r] = one
    area[r, 0] += waiting[r] * (start - area[r, 1])
    area[r, 1] = start
    waiting[r] -= batch
    serving[r] = batch
    free_s[r] = end


@njit(cache=True)
def run(arrival, replicas, rule, drawn, tau, most, delay):
    """Return when each request was dispatched and finished, by which replica, and Little's integral.

    ``drawn`` is (n, d): the replicas that a request may choose from; empty for other rules.
    """
    n = len(arrival)
    dispatch, finish = np.empty(n), np.empty(n)
    chosen = np.empty(n, np.int32)
    following = np.full(n + 1, -1, np.int32)
    oldest = np.full(replicas, -1, np.int32)
    tail = np.full(replicas, -1, np.int32)
    waiting = np.zeros(replicas, np.int32)
    serving = np.zeros(replicas, np.int32)
    free_s = np.full(replicas, -np.inf)
    area = np.zeros((replicas, 2))
    state = (waiting, oldest, serving, free_s, area, following, dispatch, finish)
    for i in range(n):
        now = arrival[i]
        if rule == ROUND_ROBIN:
            r = i % replicas
            _advance(r, now, state, arrival, tau, most, delay)
        else:
            r, least = -1, 0
            candidates = replicas if rule == SHORTEST else drawn.shape[1]
            for k in range(candidates):
                one = k if rule == SHORTEST else drawn[i, k]
                _advance(one, now, state, arrival, tau, most, delay)
                length = waiting[one] + (serving[one] if free_s[one] > now else 0)
                if r < 0 or length < least:
                    r, least = one, length
        chosen[i] = r
        if waiting[r] == 0:
            oldest[r] = i
        else:
            following[tail[r]] = i
        tail[r] = i
        area[r, 0] += waiting[r] * (now - area[r, 1])
        area[r, 1] = now
        waiting[r] += 1
        if waiting[r] >= most and free_s[r] <= now:
            _dispatch(r, now, state, tau, most)
    for r in range(replicas):
        _advance(r, np.inf, state, arrival, tau, most, delay)
    return dispatch, finish, chosen, area[:, 0].sum()
