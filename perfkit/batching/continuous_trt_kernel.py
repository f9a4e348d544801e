"""TensorRT-LLM's capacity and micro-batch schedulers step by step, compiled with numba.

Import it lazily. The caller is ``perfkit.batching.continuous``; rules and numbers are those of
docs/batching-continuous.md.
"""

import numpy as np

from perfkit.batching.closed_kernel import answered, arrive, begin
from perfkit.batching.compiling import njit
from perfkit.batching.continuous_kernel import (
    BUSY,
    DONE,
    PEAK,
    RECOMPUTED,
    SOJOURN,
    STEPS,
    STUCK,
    TOKENS,
    note_arrivals,
    note_gap,
)

NO_EVICT, MAX_UTILIZATION, STATIC = 0, 1, 2
FIRST_COME, EQUAL_PROGRESS = 0, 1
_OUT, _CONTEXT, _GENERATION = 0, 1, 2  # without blocks; in its prompt; past it


@njit(cache=True)
def _put_back(waiting_next, head, r):
    """Insert ``r`` into the waiting list, which is in order of arrival; return the head."""
    if head < 0 or r < head:
        waiting_next[r] = head
        return r
    before = head
    while waiting_next[before] >= 0 and waiting_next[before] < r:
        before = waiting_next[before]
    waiting_next[r] = waiting_next[before]
    waiting_next[before] = r
    return head


@njit(cache=True)
def _take_out(waiting_next, head, tail, r):
    """Remove ``r`` from the waiting list; return its head and its tail."""
    if head == r:
        return waiting_next[r], tail
    before = head
    while waiting_next[before] != r:
        before = waiting_next[before]
    waiting_next[before] = waiting_next[r]
    return head, before if tail == r else tail


@njit(cache=True)
def _earlier(started, ns, i, waiting):
    """Return the next of the active list: the i-th started or the waiting one; -1 at its end."""
    if i < ns and (waiting < 0 or started[i] < waiting):
        return started[i]
    return waiting


@njit(cache=True)
def _share(fit, contexts, nc, rest, got, capacity, unit, policy):
    """Give the contexts their chunks when they do not fit whole."""
    for k in range(nc):
        got[fit[contexts[k]]] = 0
    if policy == FIRST_COME:
        for k in range(nc):
            r = fit[contexts[k]]
            x = min(rest[r], capacity)
            if x != rest[r]:
                x = x // unit * unit
            got[r] = x
            capacity -= x
        return
    moved = True
    while capacity > 0 and moved:
        moved = False
        for k in range(nc):
            r = fit[contexts[k]]
            x = min(unit, rest[r] - got[r])
            if 0 < x <= capacity:
                got[r] += x
                capacity -= x
                moved = True


@njit(cache=True)
def trtllm(arrival, clients, thinks, prompt, new, most, outcome, tau, policy, max_batch, max_tokens,
           size, blocks, unit, sharing, first_scheduled, first_token, finish, preemptions, itl, seconds,
           counts):  # fmt: skip
    """Run all requests with outcome 0 to their end; fill the arrays; DONE or STUCK.

    ``most`` is the token limit that GUARANTEED_NO_EVICT and STATIC_BATCH reserve for. With
    ``clients`` the arrivals are made as a closed loop makes them, and are infinite till then.
    """
    n = len(arrival)
    coming = begin(clients, thinks)
    customer = np.empty(n if clients > 0 else 0, np.int64)
    made = 0
    computed = np.zeros(n, np.int64)
    known = prompt.copy()
    held = np.zeros(n, np.int64)
    state = np.zeros(n, np.int64)
    got = np.zeros(n, np.int64)
    rest = np.zeros(n, np.int64)
    last = np.zeros(n)
    waiting_next = np.full(n, -1, np.int64)
    head = tail = -1
    width = min(max_batch, n)
    started = np.empty(n, np.int64)  # in order of arrival
    fit = np.empty(width, np.int64)
    contexts = np.empty(width, np.int64)
    ns = at = seen = present = done = 0
    free = blocks
    now = 0.0
    todo = 0
    for i in range(n):
        todo += outcome[i] == 0
    while done < todo:
        if clients > 0:
            made = arrive(coming, clients, thinks, arrival, customer, outcome, made, now)
        while at < n and outcome[at] != 0:
            at += 1
        while ns == 0 and head < 0 and arrival[at] == np.inf:
            upto = coming[0][0]
            made = arrive(coming, clients, thinks, arrival, customer, outcome, made, upto)
        if ns == 0 and head < 0 and arrival[at] > now:
            now = arrival[at]
        while at < n and arrival[at] <= now:
            if outcome[at] == 0:
                if head < 0:
                    head = at
                else:
                    waiting_next[tail] = at
                tail = at
            at += 1

        # Who may run: the capacity scheduler.
        nf = 0
        available = free
        if policy == MAX_UTILIZATION:
            end = n
            i = 0
            w = head
            while True:
                r = _earlier(started, ns, i, w)
                if r < 0 or r >= end:
                    break
                if state[r] == _OUT:
                    need = (known[r] + size - 1) // size
                elif state[r] == _GENERATION:
                    need = (computed[r] + size) // size - held[r]
                else:
                    need = 0
                if nf < width and need <= available:
                    available -= need
                    fit[nf] = r
                    nf += 1
                    if r == w:
                        w = waiting_next[w]
                    else:
                        i += 1
                elif ns > 0 and started[ns - 1] >= r:
                    ns -= 1
                    v = started[ns]
                    available += held[v]
                    free += held[v]
                    held[v] = 0
                    counts[RECOMPUTED] += computed[v]
                    computed[v] = 0
                    preemptions[v] += 1
                    state[v] = _OUT
                    head = _put_back(waiting_next, head, v)
                    if waiting_next[v] < 0:
                        tail = v
                    end = v
                else:
                    break
        else:
            for i in range(ns):
                r = started[i]
                if state[r] == _GENERATION:
                    if nf == width:
                        break
                    available -= (prompt[r] + most[r] + size - 1) // size - held[r]
                    fit[nf] = r
                    nf += 1
            if policy == NO_EVICT or nf == 0:
                i = 0
                w = head
                while nf < width:
                    while i < ns and state[started[i]] == _GENERATION:
                        i += 1
                    r = _earlier(started, ns, i, w)
                    if r < 0:
                        break
                    need = (prompt[r] + most[r] + size - 1) // size - held[r]
                    if need > available:
                        break
                    available -= need
                    fit[nf] = r
                    nf += 1
                    if r == w:
                        w = waiting_next[w]
                    else:
                        i += 1

        # What each does: the micro-batch scheduler.
        budget = max_tokens
        nc = whole = 0
        for k in range(nf):
            r = fit[k]
            if state[r] == _GENERATION:
                if budget == 0:
                    break
                got[r] = 1
                budget -= 1
            else:
                rest[r] = known[r] - computed[r]
                if unit == 0:
                    if rest[r] > budget:
                        break
                    budget -= rest[r]
                else:
                    contexts[nc] = k
                    nc += 1
                    whole += rest[r]
                got[r] = rest[r]
        if whole > budget:
            _share(fit, contexts, nc, rest, got, budget, unit, sharing)

        tokens = seqs = context = 0
        for k in range(nf):
            r = fit[k]
            if got[r] == 0:
                continue
            if state[r] == _OUT:
                head, tail = _take_out(waiting_next, head, tail, r)
                state[r] = _CONTEXT
                need = (known[r] + size - 1) // size
                i = ns
                while i > 0 and started[i - 1] > r:
                    started[i] = started[i - 1]
                    i -= 1
                started[i] = r
                ns += 1
                if first_scheduled[r] != first_scheduled[r]:
                    first_scheduled[r] = now
            elif state[r] == _GENERATION:
                need = (computed[r] + size) // size - held[r]
            else:
                need = 0
            held[r] += need
            free -= need
            tokens += got[r]
            seqs += 1
            context += computed[r] + got[r]
        if tokens == 0 or free < 0:
            return STUCK
        counts[STEPS] += 1
        counts[TOKENS] += tokens
        counts[PEAK] = max(counts[PEAK], blocks - free)
        start = now
        took = tau[0] + tau[1] * tokens + tau[2] * seqs + tau[3] * context
        now = start + took
        seconds[BUSY] += took
        if clients > 0:
            made = arrive(coming, clients, thinks, arrival, customer, outcome, made, now)
        seen, present = note_arrivals(arrival, outcome, seen, present, start, now, seconds)
        steady = ended = 0
        for k in range(nf):
            r = fit[k]
            x = got[r]
            got[r] = 0
            computed[r] += x
            if x == 0 or computed[r] < known[r]:
                continue
            state[r] = _GENERATION
            known[r] += 1
            if known[r] == prompt[r] + 1:
                first_token[r] = now
            elif last[r] == start:
                steady += 1
            else:
                note_gap(itl, seconds, now - last[r], 1)
            last[r] = now
            if known[r] == prompt[r] + new[r]:
                finish[r] = now
                seconds[SOJOURN] += now - arrival[r]
                ended += 1
                present -= 1
                if clients > 0:
                    answered(coming, clients, thinks, customer, r, now)
                free += held[r]
        if steady > 0:
            note_gap(itl, seconds, now - start, steady)
        if ended > 0:
            done += ended
            kept = 0
            for i in range(ns):
                if finish[started[i]] != finish[started[i]]:
                    started[kept] = started[i]
                    kept += 1
            ns = kept
    while clients > 0 and made < n:  # refused ones after the last that was served
        made = arrive(coming, clients, thinks, arrival, customer, outcome, made, coming[0][0])
    return DONE
