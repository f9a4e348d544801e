"""Continuous batching step by step, compiled: vLLM's scheduler, and what both kernels share.

Import it lazily: it compiles with numba. The caller is ``perfkit.batching.continuous``, which says
what the arrays mean; the rules are those of docs/batching-continuous.md, in its numbering.
"""

import numpy as np

from perfkit.batching.closed_kernel import answered, arrive, begin
from perfkit.batching.compiling import njit
from perfkit.batching.histogram_kernel import bin_index

DONE, STUCK = 0, 1
# Slots of the totals: seconds first, then counts.
BUSY, AREA, SOJOURN, ITL_SUM, ITL_MIN, ITL_MAX = 0, 1, 2, 3, 4, 5
SECONDS = 6
STEPS, TOKENS, RECOMPUTED, PEAK = 0, 1, 2, 3


@njit(cache=True)
def note_gap(itl, seconds, gap, times):
    """Count ``times`` equal gaps between tokens."""
    itl[bin_index(gap)] += times
    seconds[ITL_SUM] += gap * times
    seconds[ITL_MIN] = min(seconds[ITL_MIN], gap)
    seconds[ITL_MAX] = max(seconds[ITL_MAX], gap)


@njit(cache=True)
def note_arrivals(arrival, outcome, seen, present, upto, now, seconds):
    """Advance the time integral of the number in the system to ``now``: Little's left side."""
    while seen < len(arrival) and arrival[seen] <= now:
        if outcome[seen] == 0:
            seconds[AREA] += present * (arrival[seen] - upto)
            upto = arrival[seen]
            present += 1
        seen += 1
    seconds[AREA] += present * (now - upto)
    return seen, present


@njit(cache=True)
def vllm(arrival, clients, thinks, prompt, new, outcome, tau, max_seqs, budget_of_step, size, blocks, chunked,
         threshold, whole, watermark, late, first_scheduled, first_token, finish, preemptions,
         itl, seconds, counts):  # fmt: skip
    """Run all requests with outcome 0 to their end; fill the arrays; DONE or STUCK.

    With ``clients`` the arrivals are made as a closed loop makes them, and are infinite till then.
    """
    n = len(arrival)
    coming = begin(clients, thinks)
    customer = np.empty(n if clients > 0 else 0, np.int64)
    made = 0
    computed = np.zeros(n, np.int64)
    known = prompt.copy()  # prompt and the tokens emitted so far
    last_known = prompt + new
    held = np.zeros(n, np.int64)
    last = np.zeros(n)
    width = min(max_seqs, n)
    running = np.empty(width, np.int64)
    got = np.empty(width, np.int64)
    paused = np.empty(width, np.int64)  # a stack: its top is the head of the waiting queue
    nrun = npaused = at = seen = present = done = 0
    free = blocks
    late_slots = late_blocks = 0
    now = cut = 0.0
    todo = 0
    for i in range(n):
        todo += outcome[i] == 0
    while done < todo:
        if clients > 0:
            made = arrive(coming, clients, thinks, arrival, customer, outcome, made, now)
        while at < n and outcome[at] != 0:
            at += 1
        while nrun == 0 and npaused == 0 and arrival[at] == np.inf:
            upto = coming[0][0]
            made = arrive(coming, clients, thinks, arrival, customer, outcome, made, upto)
        if nrun == 0 and npaused == 0 and arrival[at] > now:
            now = arrival[at]
            cut = now
            free += late_blocks
            late_slots = late_blocks = 0
        tokens = seqs = context = 0
        for _ in range(2):
            budget = budget_of_step
            preempting = False
            i = 0
            while i < nrun and budget > 0:
                r = running[i]
                x = known[r] - computed[r]
                if threshold > 0 and x > threshold:
                    x = threshold
                x = min(x, budget)
                reach = computed[r] + x
                need = 0
                if reach > held[r] * size:
                    need = (reach + size - 1) // size - held[r]
                    while need > free:
                        preempting = True
                        nrun -= 1
                        v = running[nrun]
                        free += held[v]
                        held[v] = 0
                        counts[RECOMPUTED] += computed[v]
                        computed[v] = 0
                        preemptions[v] += 1
                        paused[npaused] = v
                        npaused += 1
                        if v == r:
                            break
                    if nrun <= i:
                        break
                    held[r] += need
                    free -= need
                got[i] = x
                budget -= x
                tokens += x
                seqs += 1
                context += reach
                i += 1
            while i < nrun:
                got[i] = 0
                i += 1
            while not preempting and budget > 0 and nrun + late_slots < max_seqs:
                if npaused > 0:
                    r = paused[npaused - 1]
                else:
                    while at < n and outcome[at] != 0:
                        at += 1
                    if at == n or arrival[at] > cut:
                        break
                    r = at
                x = known[r]
                if threshold > 0 and x > threshold:
                    x = threshold
                if not chunked and x > budget:
                    break
                x = min(x, budget)
                need = (x + size - 1) // size
                margin = watermark if nrun > 0 else 0
                if need + margin > free:
                    break
                if whole and (known[r] + size - 1) // size + margin > free:
                    break
                if npaused > 0:
                    npaused -= 1
                else:
                    at += 1
                held[r] = need
                free -= need
                if first_scheduled[r] != first_scheduled[r]:
                    first_scheduled[r] = now
                running[nrun] = r
                got[nrun] = x
                nrun += 1
                budget -= x
                tokens += x
                seqs += 1
                context += x
            if tokens > 0 or not late:
                break
            # Nothing to run beside the step in flight: its end is seen before the next look.
            free += late_blocks
            late_slots = late_blocks = 0
            cut = now
        if tokens == 0:
            return STUCK
        counts[STEPS] += 1
        counts[TOKENS] += tokens
        counts[PEAK] = max(counts[PEAK], blocks - free)
        free += late_blocks
        late_slots = late_blocks = 0
        start = now
        took = tau[0] + tau[1] * tokens + tau[2] * seqs + tau[3] * context
        now = start + took
        seconds[BUSY] += took
        if clients > 0:
            made = arrive(coming, clients, thinks, arrival, customer, outcome, made, now)
        seen, present = note_arrivals(arrival, outcome, seen, present, start, now, seconds)
        steady = kept = 0
        for i in range(nrun):
            r = running[i]
            computed[r] += got[i]
            if got[i] > 0 and computed[r] == known[r]:
                known[r] += 1
                if known[r] == prompt[r] + 1:
                    first_token[r] = now
                elif last[r] == start:
                    steady += 1
                else:
                    note_gap(itl, seconds, now - last[r], 1)
                last[r] = now
                if known[r] == last_known[r]:
                    finish[r] = now
                    seconds[SOJOURN] += now - arrival[r]
                    done += 1
                    present -= 1
                    if clients > 0:
                        answered(coming, clients, thinks, customer, r, now)
                    if late:
                        late_slots += 1
                        late_blocks += held[r]
                    else:
                        free += held[r]
                    continue
            running[kept] = r
            kept += 1
        nrun = kept
        if steady > 0:
            note_gap(itl, seconds, now - start, steady)
        cut = start if late else now
    while clients > 0 and made < n:  # refused ones after the last that was served
        made = arrive(coming, clients, thinks, arrival, customer, outcome, made, coming[0][0])
    return DONE
