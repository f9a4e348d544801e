from __future__ import annotations

import pandas as pd

from perfkit.dashboard.fronts import placed, points_of
from perfkit.reporting.chart_rows import BEATEN, FRONT


def test_each_cell_has_its_place_and_a_doubtful_one_beats_nobody() -> None:
    rows = pd.DataFrame(
        {
            "cell": ["slow and weak", "fast", "strong", "doubtful", "no figures", "fast's twin"],
            "E2E ms": [30.0, 10.0, 40.0, 5.0, None, 10.0],
            "output tok/s": [90.0, 100.0, 300.0, 900.0, None, 100.0],
            "verdict": ["ok", "ok", "ok", "unstable", "oom", "ok"],
        }
    )
    made = placed(rows).set_index("cell")["state"].to_dict()
    assert made == {
        "slow and weak": BEATEN,
        "fast": FRONT,
        "fast's twin": FRONT,
        "strong": FRONT,
        "doubtful": "unstable",
    }


def test_the_chart_is_given_seconds() -> None:
    rows = pd.DataFrame(
        {
            "arm": ["torch-eager fmha bf16"], "machine": ["H200"], "batch": [8], "verdict": ["ok"],
            "E2E ms": [500.0], "output tok/s": [100.0],
        }
    )  # fmt: skip
    assert points_of(placed(rows)) == [
        {
            "arm": "torch-eager fmha bf16", "machine": "H200", "batch": 8, "e2e (s)": 0.5,
            "output token/s": 100.0, "state": FRONT,
        }
    ]  # fmt: skip
