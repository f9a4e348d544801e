"""Throughput against latency: which cells another one beats. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.reporting.chart_rows import BEATEN, FRONT
from perfkit.reporting.pareto import pareto_front

if TYPE_CHECKING:
    import pandas as pd

    from perfkit.reporting.chart_rows import Row

LATENCY, RATE = "E2E ms", "output tok/s"


def placed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that have both figures, with ``state`` as ``throughput_rows`` has it.

    The rows are of one machine. Only ``ok`` cells are held against each other, over all arms.
    Sorted by latency.
    """
    found = rows[(rows[LATENCY] > 0) & (rows[RATE] > 0)].sort_values(LATENCY)
    fine = found["verdict"] == "ok"
    points = list(zip(found[LATENCY], found[RATE], strict=True))
    front = set(pareto_front([point for point, ok in zip(points, fine, strict=True) if ok]))
    states = [
        verdict.replace("_", " ") if verdict != "ok" else FRONT if point in front else BEATEN
        for point, verdict in zip(points, found["verdict"], strict=True)
    ]
    return found.assign(state=states)


def points_of(rows: pd.DataFrame) -> list[Row]:
    """Return ``placed`` rows as the shared chart draws them."""
    made = rows.assign(**{"e2e (s)": rows[LATENCY] / 1e3}).rename(columns={RATE: "output token/s"})
    columns = ["arm", "machine", "batch", "e2e (s)", "output token/s", "state"]
    return [{str(name): value for name, value in row.items()}
            for row in made[columns].to_dict("records")]  # fmt: skip
