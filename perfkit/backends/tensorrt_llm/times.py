"""When a batch's tokens came: from each request's stream, and the executor's own times if told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One request as the client saw it, in seconds of the client's clock.

    ``tokens_s[k]`` is when token k was seen (tokens of one step alike). ``told`` are the executor's
    arrival, first and last token in seconds of its steady clock, None where it tells none.
    """

    submitted_s: float
    tokens_s: tuple[float, ...]
    told: tuple[float, float, float] | None = None

    @property
    def one_clock(self) -> bool:
        """Whether the executor's clock is the client's: each moment stands where it must."""
        if self.told is None:
            return False
        arrival, first, last = self.told
        return (
            self.submitted_s <= arrival and first <= self.tokens_s[0] and last <= self.tokens_s[-1]
        )


def sources(requests: list[Request]) -> dict[str, str]:
    """Say where first, last and the other token times come from."""
    if all(one.one_clock for one in requests):
        end = "request metrics"
    elif all(one.told is not None for one in requests):
        end = "request metrics since arrival at the executor: the way there is left out"
    else:
        end = "client, streaming"
    return {"first_token": end, "last_token": end, "other_tokens": "client, streaming"}


def batch_times(requests: list[Request]) -> tuple[float, ...]:
    """Return when each token of a whole batch was there, seconds since its first submission.

    Token k of a batch has come when every request has it. Where every request tells the executor's
    times, first and last are those, and the tokens between are moved by what the first took to be
    delivered.
    """
    start = min(one.submitted_s for one in requests)
    told = all(one.told is not None for one in requests)
    same = all(one.one_clock for one in requests)
    rows = [_told(one, same=same) if told else one.tokens_s for one in requests]
    latest = (max(step) - start for step in zip(*rows, strict=True))
    times: list[float] = []
    for moment in latest:
        times.append(max(moment, times[-1]) if times else max(moment, 0.0))
    return tuple(times)


def _told(one: Request, *, same: bool) -> tuple[float, ...]:
    """Return a request's token times, first and last by the executor, on the client's clock.

    Where its clock is another (not ``same``), its arrival stands for the client's submission.
    """
    assert one.told is not None  # noqa: S101  (its caller has looked)
    arrival, first, last = one.told
    moved = 0.0 if same else one.submitted_s - arrival
    first, last = first + moved, last + moved
    late = one.tokens_s[0] - first
    between = [min(max(seen - late, first), last) for seen in one.tokens_s[1:-1]]
    return (first, *between, last)[: len(one.tokens_s)]
