"""Batching sweeps and validations as tables to draw. Pure; times in ms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from perfkit.results.store import Document

_MS = 1e3
_FIGURES = {"wait_s": "wait", "ttft_s": "TTFT", "tpot_s": "TPOT", "e2e_s": "E2E"}
_QUANTILES = ("p50", "p90", "p99")
# Of these arrivals a rate is no share of saturation.
_OTHER_RATES = ("closed", "trace")


def lines(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the points that have a p99, with ``line`` (policy and delay), ms, and ``steady``."""
    rows = frame.dropna(subset=["lat_p99", "rate"])
    delay_ms = rows["delay_us"] / _MS
    half = rows["p99_ci"].fillna(0)
    names = [
        policy if delay != delay else f"{policy}, {delay:g} ms"  # noqa: PLR0124
        for policy, delay in zip(rows["policy"].astype(str), delay_ms, strict=True)
    ]
    return rows.assign(
        line=names,
        delay_ms=delay_ms,
        p99_ms=rows["lat_p99"] * _MS,
        low_ms=(rows["lat_p99"] - half) * _MS,
        high_ms=(rows["lat_p99"] + half) * _MS,
        steady=rows["stable"].astype(str).str.lower() != "false",
    ).sort_values(["policy", "delay_us", "max_batch", "rate"])


def dynamic(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the points of dynamic batching at shares of saturation, of which a map is drawn."""
    mine = rows[(rows["policy"] == "dynamic") & (rows["p99_ms"] > 0)].dropna(subset=["delay_ms"])
    if "arrival" in mine:
        mine = mine[~mine["arrival"].isin(_OTHER_RATES)]
    return mine.drop_duplicates(["rho", "delay_ms", "max_batch"])


def errors(document: Document) -> pd.DataFrame:
    """Return a row a load and figure: means measured and predicted, and relative errors in %.

    Raises UsageError for a validation that lacks them.
    """
    import pandas as pd

    try:
        rows = [row for one in document["compared"] for row in _of_load(one)]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"is damaged: what was compared cannot be read ({error!r})") from None
    columns = ["load", "figure", "measured ms", "predicted ms", "mean off %"]
    return pd.DataFrame(rows, columns=[*columns, *(f"{name} off %" for name in _QUANTILES)])


def _of_load(one: Document) -> list[tuple[Any, ...]]:
    table = one["table"]
    return [
        (
            float(one["load"]),
            words,
            one["measured"][name]["mean"] * _MS,
            table["predicted"][name]["mean"] * _MS,
            *(None if found[key] is None else 100 * found[key] for key in ("mean", *_QUANTILES)),
        )
        for name, words in _FIGURES.items()
        if (found := table["error"][name]) is not None
    ]
