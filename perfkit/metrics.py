"""From token times to figures: the formulas of docs/definitions.md, and nothing else."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

QUANTILE_METHOD = "linear"
# A quantile needs this many samples, else it is null.
_NEEDED = {0.5: 1, 0.9: 10, 0.99: 100}


@dataclass(frozen=True)
class Trace:
    """When each token came: ``tokens_s[k]`` is the time of token k after submission, in seconds.

    Raises ValueError when no token came or time ran backwards.
    """

    tokens_s: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse a trace that cannot have happened."""
        if not self.tokens_s:
            raise ValueError("a trace needs at least one token, got none")
        if any(b < a for a, b in zip((0.0, *self.tokens_s), self.tokens_s, strict=False)):
            raise ValueError(f"token times run backwards: {self.tokens_s}")

    @property
    def ttft_s(self) -> float:
        """Formula: t(first token) - t(submit)."""
        return self.tokens_s[0]

    @property
    def e2e_s(self) -> float:
        """Formula: t(last token) - t(submit)."""
        return self.tokens_s[-1]

    @property
    def itl_s(self) -> tuple[float, ...]:
        """Formula: t(token k) - t(token k-1), k = 2..N."""
        return tuple(b - a for a, b in zip(self.tokens_s, self.tokens_s[1:], strict=False))

    @property
    def tpot_s(self) -> float | None:
        """Formula: (e2e - ttft) / (N - 1); undefined at N = 1."""
        steps = len(self.tokens_s) - 1
        return (self.e2e_s - self.ttft_s) / steps if steps else None


def throughput(trace: Trace, batch: int, prompt_len: int) -> dict[str, float | None]:
    """Tokens per second of one round: prefill, decode and output (the headline)."""
    new = len(trace.tokens_s)
    decode_s = trace.e2e_s - trace.ttft_s
    return {
        "prefill_tokens_per_s": _rate(batch * prompt_len, trace.ttft_s),
        "decode_tokens_per_s": _rate(batch * (new - 1), decode_s) if new > 1 else None,
        "output_tokens_per_s": _rate(batch * new, trace.e2e_s),
    }


def _rate(count: float, seconds: float) -> float | None:
    return count / seconds if seconds > 0 else None


def quantile(samples: Sequence[float], q: float) -> float | None:
    """Linear interpolation between order statistics (numpy's default), null if n is too small."""
    if len(samples) < _NEEDED.get(q, 1):
        return None
    ordered = sorted(samples)
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def quantiles(samples: Sequence[float]) -> dict[str, float | None]:
    """p50, p90 (from 10 samples) and p99 (from 100 samples), in the samples' unit."""
    return {f"p{round(q * 100)}": quantile(samples, q) for q in _NEEDED}


def median(values: Sequence[float | None]) -> float | None:
    """Median of the values that exist; null when none does."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def spread(samples: Sequence[float]) -> float | None:
    """Coefficient of variation: standard deviation (ddof 1) over mean; null below two samples."""
    if len(samples) < 2:
        return None
    mean = statistics.fmean(samples)
    return statistics.stdev(samples) / mean if mean else None


def summarise(traces: Sequence[Trace], batch: int, prompt_len: int) -> dict[str, float | None]:
    """Medians over the rounds of one run: latencies in seconds, rates in tokens per second."""
    rates = [throughput(trace, batch, prompt_len) for trace in traces]
    figures: dict[str, float | None] = {
        "ttft_s": median([trace.ttft_s for trace in traces]),
        "tpot_s": median([trace.tpot_s for trace in traces]),
        "e2e_s": median([trace.e2e_s for trace in traces]),
    }
    for name in ("prefill_tokens_per_s", "decode_tokens_per_s", "output_tokens_per_s"):
        figures[name] = median([rate[name] for rate in rates])
    return figures


def latency_quantiles(traces: Sequence[Trace]) -> dict[str, Any]:
    """Quantiles of a run's ttft, e2e and itl over all its samples, in seconds, and their method."""
    return {
        "method": QUANTILE_METHOD,
        "ttft_s": quantiles([trace.ttft_s for trace in traces]),
        "e2e_s": quantiles([trace.e2e_s for trace in traces]),
        "itl_s": quantiles([itl for trace in traces for itl in trace.itl_s]),
    }
