"""Static and dynamic batching, event by event, in numba.

``fifo`` is the fast path: requests of one item, no preferred size but the largest, none leaves the
queue. A batch goes at max(an instance is free, min(its last place is taken, the oldest is due)).
``queued`` is the general one: any sizes, preferred sizes, priority levels, limit and timeout; a
batch is formed only when an instance is idle. Due is ``arrival + delay`` in floats everywhere:
``now - arrival >= delay`` would round differently, and the two would disagree on ties.

Import it lazily: it imports numba. The caller is ``perfkit.batching.dynamic``.
"""

import numpy as np

from perfkit.batching.compiling import njit
from perfkit.batching.histogram_kernel import bin_index

SERVED, TOO_LARGE, QUEUE_FULL, TIMED_OUT, STRANDED = 0, 1, 2, 3, 4
# Places in the float state that `fifo` keeps between pieces of a long run.
LAST, AREA, BUSY, WAIT_SUM, WAIT_MIN, WAIT_MAX, LAT_SUM, LAT_MIN, LAT_MAX, END, FLOATS = range(11)


@njit(cache=True, inline="always")
def _first_free(free):
    k = 0
    for other in range(1, len(free)):
        if free[other] < free[k]:
            k = other
    return k


@njit(cache=True, inline="always")
def _next_batch(arr, i, B, T, t_free, final, flush, late):
    """Return when the batch that request i begins goes, and of how many; 0: it cannot be known."""
    n = len(arr)
    due = arr[i] + T
    last_place = i + B - 1
    if last_place < n:
        t = max(t_free, min(arr[last_place], due))
        if late and arr[last_place] <= t and due > t:
            return t, B
    elif final and np.isinf(T):
        return max(t_free, arr[n - 1]), (n - i if flush else 0)
    else:
        t = max(t_free, due)
        # Unless a later arrival is known, one that is not may come in time.
        if not final and not t < arr[n - 1]:
            return t, 0
    k = 1
    if late:
        while k < B and i + k < n and arr[i + k] < t:
            k += 1
    else:
        while k < B and i + k < n and arr[i + k] <= t:
            k += 1
    return t, k


@njit(cache=True, nogil=True)
def fifo(arr, final, B, T, flush, late, tau, free, state, waiting, dispatch, finish, batch,
         wait_bins, lat_bins, counts):  # fmt: skip
    """Serve what of ``arr`` can be known; return requests served and requests that wait.

    ``arr`` begins with ``waiting`` requests that were waiting when the last piece ended. Arrays of
    no elements are not written: those a request, or those of the histograms.
    """
    n = len(arr)
    keep = len(dispatch) > 0
    tally = len(wait_bins) > 0
    last, area, busy, end = state[LAST], state[AREA], state[BUSY], state[END]
    wait_sum, wait_min, wait_max = state[WAIT_SUM], state[WAIT_MIN], state[WAIT_MAX]
    lat_sum, lat_min, lat_max = state[LAT_SUM], state[LAT_MIN], state[LAT_MAX]
    i = 0
    seen = waiting
    number = 0
    while i < n:
        f = _first_free(free)
        t, k = _next_batch(arr, i, B, T, free[f], final, flush, late)
        if k == 0:
            break
        took = tau[k]
        while seen < n and arr[seen] <= t:
            area += (seen - i) * (arr[seen] - last)
            last = arr[seen]
            seen += 1
        area += (seen - i) * (t - last)
        last = t
        free[f] = t + took
        counts[k] += 1
        busy += took
        end = max(end, t + took)
        for j in range(i, i + k):
            wait = t - arr[j]
            wait_sum += wait
            if keep:
                dispatch[j] = t
                finish[j] = t + took
                batch[j] = number
            if tally:
                latency = t + took - arr[j]
                lat_sum += latency
                wait_bins[bin_index(wait)] += 1
                lat_bins[bin_index(latency)] += 1
        # Within a batch the oldest waits longest.
        wait_max = max(wait_max, t - arr[i])
        wait_min = min(wait_min, t - arr[i + k - 1])
        lat_max = max(lat_max, t + took - arr[i])
        lat_min = min(lat_min, t + took - arr[i + k - 1])
        number += 1
        i += k
    state[LAST], state[AREA], state[BUSY], state[END] = last, area, busy, end
    state[WAIT_SUM], state[WAIT_MIN], state[WAIT_MAX] = wait_sum, wait_min, wait_max
    state[LAT_SUM], state[LAT_MIN], state[LAT_MAX] = lat_sum, lat_min, lat_max
    return i, seen - i


# Of `queued`: two lists a level, the unexpired and then the delayed, linked by `after`.
@njit(cache=True)
def _append(q, r, head, tail, after):
    after[r] = -1
    if head[q] < 0:
        head[q] = r
    else:
        after[tail[q]] = r
    tail[q] = r


@njit(cache=True)
def _choose(t, arr, size, head, after, B, pref, M, T, single):
    """Return requests to send now and their items, 0 and 0 for none; when to look again."""
    pending, number, best, best_items = 0, 0, 0, 0
    oldest = np.inf
    stopped = False
    for q in range(len(head)):
        r = head[q]
        while r >= 0 and not stopped:
            if single:
                return 1, size[r], t
            if pending + size[r] > M and best == 0:
                best, best_items = number, pending
            if pending + size[r] > B:
                stopped = True
                break
            pending += size[r]
            number += 1
            oldest = min(oldest, arr[r])
            if pref[pending]:
                best, best_items = number, pending
            r = after[r]
    expired = T > 0 and t >= oldest + T
    if best > 0 and not expired:
        return best, best_items, t
    if stopped or pending >= M or expired or T == 0:
        return number, pending, t
    return 0, 0, oldest + T


@njit(cache=True)
def _form(t, arr, size, level, head, after, held, free, B, pref, M, T, single, tau,
          dispatch, finish, batch, outcome, counts, batches):  # fmt: skip
    """Send batches while an instance is idle; when to look again, batches and requests sent."""
    sent = 0
    while True:
        f = _first_free(free)
        if free[f] > t:
            return free[f], batches, sent
        number, items, wake = _choose(t, arr, size, head, after, B, pref, M, T, single)
        if number == 0:
            return wake, batches, sent
        q = 0
        upto = sent + number
        while sent < upto:
            r = head[q]
            if r < 0:
                q += 1
                continue
            head[q] = after[r]
            held[level[r]] -= 1
            dispatch[r] = t
            finish[r] = t + tau[items]
            batch[r] = batches
            outcome[r] = SERVED
            sent += 1
        free[f] = t + tau[items]
        counts[items] += 1
        batches += 1


@njit(cache=True)
def _expire(t, arr, timeout, delayed, head, tail, after, level, held, finish, outcome):
    """At the end of instant t take out what had to be sent by then; how many moved, how many left."""
    moved, left = 0, 0
    for q in range(0, len(head), 2):
        while head[q] >= 0 and arr[head[q]] + timeout <= t:
            r = head[q]
            head[q] = after[r]
            moved += 1
            if delayed:
                _append(q + 1, r, head, tail, after)
            else:
                left += 1
                held[level[r]] -= 1
                outcome[r] = TIMED_OUT
                finish[r] = arr[r] + timeout
    return moved, left


@njit(cache=True)
def _closest(arr, timeout, head):
    t = np.inf
    for q in range(0, len(head), 2):
        if head[q] >= 0:
            t = min(t, arr[head[q]] + timeout)
    return t


@njit(cache=True, nogil=True)
def queued(arr, size, level, levels, B, pref, M, T, c, limit, timeout, delayed, single, flush, late,
           tau, dispatch, finish, batch, outcome, counts):  # fmt: skip
    """Run to the end; return the time integral of the number waiting, and the last event's time."""
    n = len(arr)
    head = np.full(2 * levels, -1, np.int64)
    tail = np.full(2 * levels, -1, np.int64)
    after = np.full(n, -1, np.int64)
    held = np.zeros(levels, np.int64)
    free = np.full(c, -np.inf)
    waiting, batches, i = 0, 0, 0
    area, last, wake = 0.0, 0.0, np.inf
    while True:
        t = arr[i] if i < n else np.inf
        if waiting > 0:
            t = min(t, wake, _closest(arr, timeout, head))
        if t == np.inf:
            return area, last
        area += waiting * (t - last)
        last = t
        form_first = late
        while True:
            if form_first:
                form_first = False
            else:
                while i < n and arr[i] == t:
                    r = i
                    i += 1
                    if size[r] > B:
                        outcome[r] = TOO_LARGE
                    elif limit > 0 and held[level[r]] >= limit:
                        outcome[r] = QUEUE_FULL
                    else:
                        held[level[r]] += 1
                        waiting += 1
                        outcome[r] = STRANDED
                        _append(2 * level[r], r, head, tail, after)
                        if late:
                            break
                        continue
                    finish[r] = t
                    if late:
                        break
            if waiting > 0:
                delay = 0.0 if flush and i == n and np.isinf(T) else T
                wake, batches, sent = _form(t, arr, size, level, head, after, held, free, B, pref, M,
                                            delay, single, tau, dispatch, finish, batch, outcome,
                                            counts, batches)  # fmt: skip
                waiting -= sent
            if i < n and arr[i] == t:
                continue
            if waiting == 0:
                break
            moved, left = _expire(
                t, arr, timeout, delayed, head, tail, after, level, held, finish, outcome
            )
            waiting -= left
            if moved == 0:
                break
