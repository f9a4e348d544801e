"""When a batch's tokens came: from each request's stream, and the executor's own times if told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One request as the client saw it, in seconds of one clock.

    ``tokens_s[k]`` is when token k was seen (tokens of one step alike). ``first_s`` and ``last_s``
    are the executor's first and last token since the request's arrival there, None if not told.
    """

    submitted_s: float
    tokens_s: tuple[float, ...]
    first_s: float | None = None
    last_s: float | None = None


def sources(requests: list[Request]) -> dict[str, str]:
    """Say where first, last and the other token times come from."""
    told = all(one.first_s is not None and one.last_s is not None for one in requests)
    end = "request metrics" if told else "client, streaming"
    return {"first_token": end, "last_token": end, "other_tokens": "client, streaming"}


def batch_times(requests: list[Request]) -> tuple[float, ...]:
    """Return when each token of a whole batch was there, seconds since its first submission.

    Token k of a batch has come when every request has it. Where every request tells the executor's
    times, first and last are those, and the tokens between are moved by what the first took to be
    delivered.
    """
    start = min(one.submitted_s for one in requests)
    told = all(one.first_s is not None and one.last_s is not None for one in requests)
    rows = [_told(one) if told else one.tokens_s for one in requests]
    latest = (max(step) - start for step in zip(*rows, strict=True))
    times: list[float] = []
    for moment in latest:
        times.append(max(moment, times[-1]) if times else max(moment, 0.0))
    return tuple(times)


def _told(one: Request) -> tuple[float, ...]:
    assert one.first_s is not None  # noqa: S101  (its caller has looked)
    assert one.last_s is not None  # noqa: S101
    first, last = one.submitted_s + one.first_s, one.submitted_s + one.last_s
    late = one.tokens_s[0] - first
    between = [min(max(seen - late, first), last) for seen in one.tokens_s[1:-1]]
    return (first, *between, last)[: len(one.tokens_s)]
