from __future__ import annotations

import pytest

from perfkit.backends.tensorrt_llm.times import Request, batch_times, sources


def test_a_token_of_a_batch_has_come_when_every_request_has_it() -> None:
    first = Request(10.0, (10.5, 10.75, 11.0))
    second = Request(10.125, (10.625, 10.6875, 11.25))
    assert batch_times([first, second]) == (0.625, 0.75, 1.25)
    assert set(sources([first, second]).values()) == {"client, streaming"}


def test_the_executors_first_and_last_stand_and_the_rest_moves_with_the_first() -> None:
    # It had the request 0.125 s after its submission; delivery of the first token took 0.25 s, so
    # the middle is 0.25 s earlier too.
    told = Request(10.0, (11.25, 12.25, 13.5), told=(10.125, 11.0, 13.0))
    assert batch_times([told]) == (1.0, 2.0, 3.0)
    assert sources([told]) == {
        "first_token": "request metrics",
        "last_token": "request metrics",
        "other_tokens": "client, streaming",
    }


def test_another_clock_counts_from_the_requests_arrival_and_says_so() -> None:
    told = Request(10.0, (11.25, 12.25, 13.5), told=(500.0, 500.875, 502.875))
    assert batch_times([told]) == (0.875, 1.875, 2.875)
    assert "the way there is left out" in sources([told])["first_token"]


def test_a_batch_of_which_one_is_mute_goes_by_the_clients_clock() -> None:
    told = Request(0.0, (1.25, 2.25), told=(0.0, 1.0, 2.0))
    mute = Request(0.0, (1.0, 2.0))
    assert batch_times([told, mute]) == (1.25, 2.25)
    assert set(sources([told, mute]).values()) == {"client, streaming"}


def test_tokens_of_one_step_come_together_and_never_after_the_last() -> None:
    told = Request(0.0, (1.25, 3.5, 3.5, 3.5), told=(0.0, 1.0, 3.0))
    assert batch_times([told]) == (1.0, 3.0, 3.0, 3.0)


def test_one_token_alone() -> None:
    assert batch_times([Request(0.0, (1.25,), told=(0.0, 1.0, 1.0))]) == (1.0,)


def test_requests_of_different_lengths_are_no_batch() -> None:
    with pytest.raises(ValueError, match="longer"):
        batch_times([Request(0.0, (1.0,)), Request(0.0, (1.0, 2.0))])
