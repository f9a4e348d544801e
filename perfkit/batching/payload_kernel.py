"""Triton's batcher with batches formed ahead: the queue of payloads, as its code keeps it.

Read in dynamic_batch_scheduler.cc, payload.cc, instance_queue.cc and rate_limiter.cc of
triton-inference-server/core. First come, first served, nobody leaves: a payload is a range of
requests. Threads are taken as infinitely fast, and an idle instance takes what is enqueued at once.

Import it lazily: it imports numba. The caller is ``perfkit.batching.dynamic``.
"""

import numpy as np

from perfkit.batching.compiling import njit
from perfkit.batching.dynamic_kernel import _first_free

# The batcher's state: the queue is requests HEAD to SEEN; payloads FIRST to FIRST + HELD of a ring;
# GROWING: the batcher still adds to the last of them; CLOSED: its next request begins a new one.
HEAD, SEEN, FIRST, HELD, GROWING, CLOSED, BATCHES, STARTED = range(8)


@njit(cache=True)
def _batcher(t, s, arr, size, begin, stop, items, B, pref, M, T):
    """GetDynamicBatch once and what it moves: whether it did anything, when to look again."""
    if s[CLOSED]:
        s[CLOSED] = 0
        s[GROWING] = 0
    cap = len(begin)
    if s[HEAD] == s[SEEN] or s[HELD] == cap:
        return False, np.inf
    tail = (s[FIRST] + s[HELD] - 1) % cap
    has = items[tail] if s[GROWING] else 0
    h = s[HEAD]
    k = h
    pending, best, best_k = 0, 0, h
    closed, stopped = False, False
    while k < s[SEEN]:
        if has + pending > 0:
            if has + pending + size[k] > M and best == 0:
                best, best_k = pending, k
                closed = True
            if has + pending + size[k] > B:
                stopped = True
                break
        pending += size[k]
        k += 1
        if pref[has + pending]:
            best, best_k = pending, k
    expired = T > 0 and k > h and t >= arr[h] + T
    if best > 0 and not expired:
        closed = closed or T == 0
        k = best_k
        pending = best
    elif k > h and (stopped or has + pending >= M):
        closed = True
    elif k > h and not (expired or T == 0 or (has > 0 and not pref[has])):
        return False, arr[h] + T
    s[CLOSED] = closed
    if k > h:
        if not s[GROWING]:
            tail = (s[FIRST] + s[HELD]) % cap
            s[HELD] += 1
            s[GROWING] = 1
            begin[tail] = h
            items[tail] = 0
        stop[tail] = k
        items[tail] += pending
        s[HEAD] = k
    return True, np.inf


@njit(cache=True)
def _take(t, s, arr, begin, stop, items, B, T, f, free, tau, dispatch, finish, batch, counts):
    """Instance f takes the first payload and what may be merged into it; requests started."""
    cap = len(begin)
    first = s[FIRST]
    s[FIRST] = (first + 1) % cap
    s[HELD] -= 1
    if s[HELD] == 0:
        s[GROWING] = 0
    total, upto = items[first], stop[first]
    # The next is marked as executing before it is known to fit: left alone, it grows no more.
    while T > 0 and B > 1 and s[HELD] > 0 and t > arr[begin[s[FIRST]]] + T:
        if s[HELD] == 1:
            s[GROWING] = 0
        if total + items[s[FIRST]] > B:
            break
        total += items[s[FIRST]]
        upto = stop[s[FIRST]]
        s[FIRST] = (s[FIRST] + 1) % cap
        s[HELD] -= 1
    for r in range(begin[first], upto):
        dispatch[r] = t
        finish[r] = t + tau[total]
        batch[r] = s[BATCHES]
    free[f] = t + tau[total]
    counts[total] += 1
    s[BATCHES] += 1
    s[STARTED] += upto - begin[first]


@njit(cache=True)
def _settle(t, s, arr, size, begin, stop, items, B, pref, M, T, free, tau, dispatch, finish, batch,
            counts):  # fmt: skip
    """Batcher and instances act until none can; when to look again."""
    while True:
        acted, wake = _batcher(t, s, arr, size, begin, stop, items, B, pref, M, T)
        f = _first_free(free)
        if s[HELD] > 0 and free[f] <= t:
            _take(
                t, s, arr, begin, stop, items, B, T, f, free, tau, dispatch, finish, batch, counts
            )
            acted = True
        if not acted:
            return min(wake, free[f]) if s[HELD] > 0 else wake


@njit(cache=True, nogil=True)
def prefetched(arr, size, B, pref, M, T, c, late, tau, dispatch, finish, batch, counts):
    """Run to the end; return the time integral of the number waiting, and the last event's time."""
    n = len(arr)
    s = np.zeros(8, np.int64)
    begin = np.zeros(2 * c, np.int64)
    stop = np.zeros(2 * c, np.int64)
    items = np.zeros(2 * c, np.int64)
    free = np.full(c, -np.inf)
    area, last, wake = 0.0, 0.0, np.inf
    while True:
        t = wake
        if s[SEEN] < n:
            t = min(t, arr[s[SEEN]])
        if t == np.inf:
            return area, last
        area += (s[SEEN] - s[STARTED]) * (t - last)
        last = t
        if late:
            wake = _settle(t, s, arr, size, begin, stop, items, B, pref, M, T, free, tau, dispatch,
                           finish, batch, counts)  # fmt: skip
        while s[SEEN] < n and arr[s[SEEN]] == t:
            s[SEEN] += 1
            if late:
                wake = _settle(t, s, arr, size, begin, stop, items, B, pref, M, T, free, tau,
                               dispatch, finish, batch, counts)  # fmt: skip
        if not late:
            wake = _settle(t, s, arr, size, begin, stop, items, B, pref, M, T, free, tau, dispatch,
                           finish, batch, counts)  # fmt: skip
