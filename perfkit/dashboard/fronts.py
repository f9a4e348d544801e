"""Throughput against latency: which cells another one beats. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.reporting.pareto import pareto_front

if TYPE_CHECKING:
    import pandas as pd

LATENCY, RATE = "E2E ms", "output tok/s"
FRONT, BEATEN, DOUBTFUL = "on the front", "dominated", "not comparable"


def placed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have both figures, with ``place``: FRONT, BEATEN or DOUBTFUL.

    Only ``ok`` cells are held against each other, over all arms. Sorted by latency.
    """
    found = rows[(rows[LATENCY] > 0) & (rows[RATE] > 0)].sort_values(LATENCY)
    fine = found["verdict"] == "ok"
    points = list(zip(found[LATENCY], found[RATE], strict=True))
    front = set(pareto_front([point for point, ok in zip(points, fine, strict=True) if ok]))
    places = [
        DOUBTFUL if not ok else FRONT if point in front else BEATEN
        for point, ok in zip(points, fine, strict=True)
    ]
    return found.assign(place=places)
