"""One cell over time, and what changed around it from run to run. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.dashboard.table import ENVIRONMENT

if TYPE_CHECKING:
    import pandas as pd

_WORDS = {"machine_key": "machine"}
CODE = "commit"


def runs_of(frame: pd.DataFrame, cell: str) -> pd.DataFrame:
    """Return a cell's rows, oldest first, with ``run`` (from 1), ``changed`` and ``code_changed``.

    ``changed`` says what of machine, driver, CUDA and torch is not as in the run before;
    ``code_changed`` the same of the commit. Both are empty where nothing changed.
    """
    mine = frame[frame["cell"] == cell].sort_values("date", kind="stable", na_position="first")
    mine = mine.assign(run=range(1, len(mine) + 1))
    told = [_changes(mine, at) for at in range(len(mine))]
    return mine.assign(
        changed=[_sentence(found, code=False) for found in told],
        code_changed=[_sentence(found, code=True) for found in told],
    )


def _changes(runs: pd.DataFrame, at: int) -> dict[str, str]:
    if at == 0:
        return {}
    before, now = runs.iloc[at - 1], runs.iloc[at]
    return {
        name: f"{_WORDS.get(name, name)} {before[name]} → {now[name]}"
        for name in ENVIRONMENT
        if before[name] != now[name]
    }


def _sentence(found: dict[str, str], *, code: bool) -> str:
    return "; ".join(words for name, words in found.items() if (name == CODE) == code)
