"""Continuous batching by hand: each rule of docs/batching-continuous.md in a case small enough."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from perfkit.batching import continuous
from perfkit.batching.continuous import Requests, Run, StepTime, TrtLlm, VllmLike, simulate
from perfkit.errors import UsageError

_SECOND = StepTime(1.0)  # every step takes one second: times count steps
_WIDE = VllmLike(max_num_seqs=8, token_budget=100, kv_blocks=1000, block_size=1)


def _requests(*rows: tuple[float, int, int]) -> Requests:
    """Build from (arrival, prompt tokens, new tokens)."""
    arrival, prompt, new = zip(*rows, strict=True)
    return Requests(np.array(arrival, float), np.array(prompt), np.array(new))


def _times(run: Run) -> list[tuple[float, float, float]]:
    return list(
        zip(
            run.first_scheduled_s.tolist(),
            run.first_token_s.tolist(),
            run.finish_s.tolist(),
            strict=True,
        )
    )


def test_first_token_ends_the_prefill_and_n_tokens_take_n_minus_1_decode_steps() -> None:
    # 250 tokens in steps of 100 are three prefill steps; four more for tokens 2 to 5.
    run = simulate(_requests((0.5, 250, 5)), _WIDE, _SECOND)
    assert _times(run) == [(0.5, 3.5, 7.5)]
    assert (run.steps, run.tokens, run.peak_blocks) == (7, 254, 254)
    assert (run.itl.count, run.itl.mean_s, run.itl.max_s) == (4, 1.0, 1.0)
    assert run.itl.quantile(0.5) == pytest.approx(1.0, rel=1e-3)


def test_step_time_counts_tokens_sequences_and_context() -> None:
    # Prefill of 10 and 20: 1 + 30/8 + 2/16 + 30/32; then two decodes over 11 + 21 tokens.
    run = simulate(_requests((0, 10, 2), (0, 20, 2)), _WIDE, StepTime(1.0, 1 / 8, 1 / 16, 1 / 32))
    assert run.first_token_s.tolist() == [5.8125, 5.8125]
    assert run.finish_s.tolist() == [5.8125 + 1 + 2 / 8 + 2 / 16 + 1.0] * 2
    assert run.busy_s == run.finish_s[0]


def test_arrivals_during_a_step_wait_for_its_end_and_those_at_its_end_do_not() -> None:
    run = simulate(_requests((0, 1, 3), (0.5, 1, 1), (2.0, 1, 1)), _WIDE, _SECOND)
    assert _times(run) == [(0.0, 1.0, 3.0), (1.0, 2.0, 2.0), (2.0, 3.0, 3.0)]


def test_an_idle_server_starts_at_the_next_arrival() -> None:
    run = simulate(_requests((0, 1, 1), (7.25, 1, 1)), _WIDE, _SECOND)
    assert run.finish_s.tolist() == [1.0, 8.25]
    assert run.busy_s == 2.0


def test_one_seat_is_a_first_come_first_served_single_server() -> None:
    run = simulate(
        _requests((0, 1, 3), (0, 1, 2), (1, 1, 1)), replace(_WIDE, max_num_seqs=1), _SECOND
    )
    assert _times(run) == [(0.0, 1.0, 3.0), (3.0, 4.0, 5.0), (5.0, 6.0, 6.0)]


def test_a_budget_below_the_running_leaves_the_tail_out_of_the_step() -> None:
    # Two tokens a step for three that decode: the third waits until the first two are done.
    policy = replace(_WIDE, token_budget=2)
    run = simulate(_requests((0, 1, 3), (0, 1, 3), (0, 1, 2)), policy, _SECOND)
    assert run.finish_s.tolist() == [3.0, 3.0, 5.0]
    assert run.first_scheduled_s.tolist() == [0.0, 0.0, 3.0]


def test_chunked_prefill_shares_the_step_with_decodes() -> None:
    # Step 2: one decode and 9 of 15 prompt tokens; step 3: one decode and the other 6.
    run = simulate(_requests((0, 10, 4), (0.5, 15, 1)), replace(_WIDE, token_budget=10), _SECOND)
    assert _times(run) == [(0.0, 1.0, 4.0), (1.0, 3.0, 3.0)]


def test_without_chunks_a_prompt_waits_for_a_step_that_holds_it_whole() -> None:
    policy = replace(_WIDE, token_budget=15, chunked_prefill=False)
    run = simulate(_requests((0, 10, 4), (0.5, 15, 1), (0.5, 1, 1)), policy, _SECOND)
    # It waits for the decodes to end, and the short one behind it waits too.
    assert _times(run) == [(0.0, 1.0, 4.0), (4.0, 5.0, 5.0), (5.0, 6.0, 6.0)]


def test_a_long_prefill_threshold_leaves_budget_for_the_next() -> None:
    policy = replace(_WIDE, token_budget=10, long_prefill_threshold=6)
    run = simulate(_requests((0, 12, 1), (0, 4, 1)), policy, _SECOND)
    assert run.finish_s.tolist() == [2.0, 1.0]


def test_kv_for_exactly_one_request_is_serial() -> None:
    # 4 + 3 - 1 tokens are ever cached.
    run = simulate(_requests((0, 4, 3), (0, 4, 3)), replace(_WIDE, kv_blocks=6), _SECOND)
    assert _times(run)[0] == (0.0, 1.0, 3.0)
    assert _times(run)[1] == (3.0, 4.0, 6.0)
    assert run.peak_blocks == 6


def test_the_last_running_is_preempted_and_computes_its_tokens_again() -> None:
    # Step 1: both prefill 3 (6 of 7 blocks). Step 2: the first takes the 7th block, the second
    # preempts itself and loses 3 tokens. Steps 3, 4: the first needs its 5th and 6th block.
    # It ends at 4. Step 5: the second computes 3 + 1 tokens again and emits its 2nd; its 3rd at 6.
    run = simulate(_requests((0, 3, 4), (0, 3, 3)), replace(_WIDE, kv_blocks=7), _SECOND)
    assert run.preemptions.tolist() == [0, 1]
    assert run.recomputed_tokens == 3
    assert _times(run) == [(0.0, 1.0, 4.0), (0.0, 1.0, 6.0)]
    assert (run.itl.count, run.itl.max_s) == (5, 4.0)
    assert run.tokens == 6 + 3 + 4 + 1


def test_nobody_enters_in_a_step_that_preempted() -> None:
    # As above, but a first chunk of 3 would fit into the 3 blocks just freed. It comes when the
    # first has ended, at 4, in chunks of 3 and 1.
    policy = replace(_WIDE, kv_blocks=7, long_prefill_threshold=3)
    run = simulate(_requests((0, 3, 4), (0, 3, 3)), policy, _SECOND)
    assert run.preemptions.tolist() == [0, 1]
    assert run.finish_s.tolist() == [4.0, 7.0]


def test_the_preempted_goes_before_those_that_wait() -> None:
    # As above; the third, which would fit beside the first, waits behind the preempted second.
    policy = replace(_WIDE, kv_blocks=7)
    run = simulate(_requests((0, 3, 4), (0, 3, 3), (1, 1, 1)), policy, _SECOND)
    assert run.preemptions.tolist() == [0, 1, 0]
    assert run.first_scheduled_s.tolist() == [0.0, 0.0, 4.0]
    assert run.finish_s.tolist() == [4.0, 6.0, 5.0]


def test_the_head_of_the_queue_blocks_what_would_fit() -> None:
    policy = replace(_WIDE, kv_blocks=10)
    run = simulate(_requests((0, 6, 2), (0.5, 8, 1), (0.5, 1, 1)), policy, _SECOND)
    assert run.first_scheduled_s.tolist() == [0.0, 2.0, 2.0]


def test_only_the_first_chunk_must_fit_unless_told_otherwise() -> None:
    policy = replace(_WIDE, token_budget=10, kv_blocks=20)
    rows = _requests((0, 10, 3), (0, 18, 1))
    # Blocks at step 2: 11 and a chunk of 9; at step 3 the first needs its 12th and evicts it.
    assert simulate(rows, policy, _SECOND).preemptions.tolist() == [0, 1]
    careful = simulate(rows, replace(policy, full_sequence_must_fit=True), _SECOND)
    assert careful.preemptions.tolist() == [0, 0]
    assert careful.first_scheduled_s.tolist() == [0.0, 3.0]


def test_a_watermark_holds_for_those_that_join_others_alone() -> None:
    policy = replace(_WIDE, kv_blocks=7, watermark_blocks=2)
    run = simulate(_requests((0, 6, 2), (0, 1, 1)), policy, _SECOND)
    assert run.first_scheduled_s.tolist() == [0.0, 2.0]


def test_async_scheduling_admits_and_frees_a_step_later() -> None:
    policy = replace(_WIDE, max_num_seqs=2, async_scheduling=True)
    rows = _requests((0, 1, 4), (0.5, 1, 1), (1.5, 1, 1))
    # Step 2 is scheduled at 0, before the second has come; the second runs in step 3. It ends at
    # 3, but step 4 is scheduled at 2, with its seat taken: the third runs in step 5, at 4.
    assert _times(simulate(rows, policy, _SECOND)) == [
        (0.0, 1.0, 4.0),
        (2.0, 3.0, 3.0),
        (4.0, 5.0, 5.0),
    ]
    at_once = simulate(rows, replace(policy, async_scheduling=False), _SECOND)
    assert at_once.finish_s.tolist() == [4.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("policy", "row", "outcome"),
    [
        (replace(_WIDE, kv_blocks=9), (0, 8, 3), continuous.REJECTED_KV),
        (replace(_WIDE, max_model_len=10), (0, 8, 3), continuous.REJECTED_LENGTH),
        (
            replace(_WIDE, token_budget=9, chunked_prefill=False),
            (0, 8, 3),
            continuous.REJECTED_BUDGET,
        ),
        (TrtLlm("GUARANTEED_NO_EVICT", 8, 100, 5, 2), (0, 8, 3), continuous.REJECTED_KV),
        (TrtLlm("STATIC_BATCH", 8, 7, 100, 2), (0, 8, 3), continuous.REJECTED_BUDGET),
        (TrtLlm("MAX_UTILIZATION", 8, 9, 100, 2), (0, 8, 3), continuous.REJECTED_BUDGET),
    ],
)
def test_what_could_never_end_is_rejected_and_the_rest_served(
    policy: VllmLike | TrtLlm, row: tuple[float, int, int], outcome: int
) -> None:
    run = simulate(_requests((0, 2, 2), row, (0, 2, 2)), policy, _SECOND)
    assert run.outcome.tolist() == [0, outcome, 0]
    assert np.isnan(run.finish_s).tolist() == [False, True, False]
    assert run.little_error < 1e-9


def test_a_request_that_just_fits_is_served() -> None:
    run = simulate(_requests((0, 8, 3)), replace(_WIDE, kv_blocks=10), _SECOND)
    assert run.outcome.tolist() == [continuous.FINISHED]
    assert (run.finish_s.tolist(), run.peak_blocks) == ([3.0], 10)


def test_all_rejected_is_a_run_without_steps() -> None:
    run = simulate(_requests((0, 8, 3)), replace(_WIDE, kv_blocks=1), _SECOND)
    assert (run.steps, run.itl.count) == (0, 0)
    assert math.isnan(run.itl.quantile(0.5))


def test_no_progress_is_an_error_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the rejection the first request never fits: the error stands where a loop would.
    monkeypatch.setattr(continuous, "rejections", lambda *_: np.zeros(2, dtype=np.int64))
    for policy in (replace(_WIDE, kv_blocks=4), TrtLlm("MAX_UTILIZATION", 8, 100, 4, 1)):
        with pytest.raises(continuous.NoProgressError, match="2 requests left"):
            simulate(_requests((0, 8, 3), (0, 1, 1)), policy, _SECOND)


def _trt(capacity: str, **sizes: int) -> TrtLlm:
    every = {"max_batch_size": 8, "max_num_tokens": 100, "kv_blocks": 10, "tokens_per_block": 1}
    return TrtLlm(capacity, **(every | sizes))


_PAIR = ((0, 3, 3), (0, 3, 3))


def test_guaranteed_no_evict_reserves_to_the_end() -> None:
    # 3 + 3 tokens each: two at once need 12 blocks.
    assert simulate(
        _requests(*_PAIR), _trt("GUARANTEED_NO_EVICT", kv_blocks=12), _SECOND
    ).finish_s.tolist() == [3.0, 3.0]
    assert simulate(
        _requests(*_PAIR), _trt("GUARANTEED_NO_EVICT", kv_blocks=11), _SECOND
    ).finish_s.tolist() == [3.0, 6.0]


def test_guaranteed_no_evict_reserves_for_the_limit_and_not_for_what_comes() -> None:
    requests = replace(_requests(*_PAIR), max_new_tokens=np.array([4, 3]))
    policy = _trt("GUARANTEED_NO_EVICT", kv_blocks=12)
    assert simulate(requests, policy, _SECOND).finish_s.tolist() == [3.0, 6.0]


def test_max_utilization_pauses_the_last_started() -> None:
    # Both start with 6 of 7 blocks; at step 2 the first gets the 7th and the second is paused. At
    # the end of step 3 the first is done; then the second computes 3 + 1 tokens again.
    run = simulate(_requests(*_PAIR), _trt("MAX_UTILIZATION", kv_blocks=7), _SECOND)
    assert run.preemptions.tolist() == [0, 1]
    assert run.finish_s.tolist() == [3.0, 5.0]
    assert run.recomputed_tokens == 3


def test_static_batch_admits_only_when_nothing_is_in_progress() -> None:
    rows = _requests((0, 1, 2), (0, 1, 4), (0.5, 1, 1))
    run = simulate(rows, _trt("STATIC_BATCH"), _SECOND)
    assert run.first_scheduled_s.tolist() == [0.0, 0.0, 4.0]
    assert run.finish_s.tolist() == [2.0, 4.0, 5.0]


def test_contexts_that_do_not_fit_are_cut_by_turns_or_in_order() -> None:
    # Of 20 and 8 tokens, 16 a step in units of 4. In order: 16 and none, then 4 and 8. By turns: 8
    # each, then 12.
    rows = _requests((0, 20, 1), (0, 8, 1))
    policy = _trt("GUARANTEED_NO_EVICT", max_num_tokens=16, kv_blocks=100, chunk_unit=4)
    assert simulate(rows, policy, _SECOND).finish_s.tolist() == [2.0, 2.0]
    by_turns = replace(policy, chunking="EQUAL_PROGRESS")
    assert simulate(rows, by_turns, _SECOND).finish_s.tolist() == [2.0, 1.0]


def test_a_cut_context_is_a_multiple_of_the_unit() -> None:
    # 10 a step in units of 4: 8, then the rest of 4; the second gets its 2 whole in step 1.
    rows = _requests((0, 12, 1), (0, 2, 1))
    policy = _trt("GUARANTEED_NO_EVICT", max_num_tokens=10, kv_blocks=100, chunk_unit=4)
    run = simulate(rows, policy, _SECOND)
    assert run.finish_s.tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: StepTime(-1.0), "c0_s -1.0"),
        (lambda: StepTime(1.0, math.nan), "per_token_s nan"),
        (lambda: replace(_WIDE, max_num_seqs=0), "max_num_seqs 0"),
        (lambda: replace(_WIDE, watermark_blocks=-1), "watermark_blocks -1"),
        (lambda: _trt("MAX_UTILISATION"), "did you mean 'MAX_UTILIZATION'"),
        (lambda: _trt("STATIC_BATCH", chunk_unit=101), "chunk_unit 101"),
        (lambda: Requests(np.array([]), np.array([]), np.array([])), "no requests"),
        (lambda: _requests((1, 1, 1), (0.5, 1, 1)), r"arrival_s\[1\] is 0.5"),
        (lambda: _requests((math.nan, 1, 1)), r"arrival_s\[0\] is nan"),
        (lambda: _requests((-1, 1, 1)), r"arrival_s\[0\] is -1"),
        (lambda: _requests((0, 0, 1)), r"prompt_tokens\[0\] is 0"),
        (lambda: _requests((0, 1, 0)), r"new_tokens\[0\] is 0"),
        (lambda: replace(_requests((0, 1, 1)), new_tokens=np.array([1, 2])), "has 2 entries"),
        (lambda: replace(_requests((0, 1, 3)), max_new_tokens=np.array([2])), "max_new_tokens"),
    ],
)
def test_bad_input_is_named(make: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make()  # type: ignore[operator]


def test_importing_and_describing_loads_no_numba() -> None:
    code = (
        "import sys\n"
        "from perfkit.batching.continuous import StepTime, TrtLlm, VllmLike\n"
        "StepTime(1.0), VllmLike(1, 1, 1), TrtLlm('STATIC_BATCH', 1, 1, 1)\n"
        "print('heavy:', sorted({'numba', 'scipy', 'torch', 'pandas'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
