"""Slim documents as one table: a row each cell, with where, when and on what it was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.reporting.frame import CASE_FIELDS
from perfkit.results.store import cells_of, section, synthetic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from perfkit.results.store import Document

# A figure, its words with the unit that people read, and how many of those one of ours is.
FIGURES = (
    ("ttft_s", "TTFT ms", 1e3), ("tpot_s", "TPOT ms", 1e3), ("e2e_s", "E2E ms", 1e3),
    ("output_tokens_per_s", "output tok/s", 1.0), ("mfu", "MFU %", 100.0), ("mbu", "MBU %", 100.0),
    ("peak_allocated_bytes", "peak allocated GiB", 2**-30),
    ("peak_device_bytes", "peak device GiB", 2**-30),
    ("energy_j_per_token", "energy J/token", 1.0),
)  # fmt: skip
WORDS = {name: words for name, words, _ in FIGURES}
ENVIRONMENT = ("machine_key", "driver", "cuda", "torch", "commit")
_ABOUT = ("file", "date", "machine", *ENVIRONMENT, "synthetic")
COLUMNS = (
    *_ABOUT, "cell", *CASE_FIELDS, "arm", "verdict", "reason", "agreement", *WORDS.values(),
)  # fmt: skip
# Chosen by nobody: what is said where a file does not say it.
UNKNOWN = "unknown"


def cells_frame(documents: Iterable[tuple[str, Document]]) -> pd.DataFrame:
    """Return a row a cell of (label, document) pairs, with COLUMNS; dates are UTC."""
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    for label, document in documents:
        about = tuple(_about(label, document).values())
        rows += [(*about, name, *_of_cell(cell)) for name, cell in cells_of(document).items()]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["date"] = pd.to_datetime(frame["date"], errors="coerce", utc=True, format="ISO8601")
    for words in WORDS.values():
        frame[words] = frame[words].astype("float64")
    return frame


def _about(label: str, document: Document) -> dict[str, Any]:
    machine = section(document, "perfkit", "machine")
    fields = machine.get("fields") if isinstance(machine.get("fields"), dict) else {}
    told = {name: str((fields or {}).get(name) or UNKNOWN) for name in ("driver", "cuda", "torch")}
    key = str(machine.get("key") or UNKNOWN)
    made = {
        "file": label,
        "date": document["datetime"],
        "machine": str(machine.get("name") or key),
        "machine_key": key,
        **told,
        "commit": commit_of(document),
        "synthetic": synthetic(document),
    }
    return {name: made[name] for name in _ABOUT}


def commit_of(document: Mapping[str, Any]) -> str:
    """Return eight digits of the commit, marked where files were changed since."""
    told = section(document, "commit_info")
    name = str(told.get("id") or UNKNOWN)[:8]
    return f"{name}, changed" if told.get("dirty") and name != UNKNOWN else name


def _of_cell(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    case, metrics = cell["case"], cell["metrics"]
    figures = (
        None if (value := metrics.get(name)) is None else value * scale
        for name, _, scale in FIGURES
    )
    return (
        *(case[name] for name in CASE_FIELDS),
        arm_of(case),
        cell["verdict"],
        cell["reason"],
        cell["agreement"]["status"],
        *figures,
    )


def arm_of(case: Mapping[str, Any]) -> str:
    """Return a case without model and shape: what is compared with what."""
    words = f"{case['backend']} {case['attention']} {case['precision']}"
    return words if case["tp"] == 1 else f"{words} tp{case['tp']}"


def chosen(
    frame: pd.DataFrame, machines: Sequence[str], models: Sequence[str], commits: Sequence[str]
) -> pd.DataFrame:
    """Return the rows of these machine keys, models and commits; none named means all."""
    mask = frame["cell"].notna()
    for column, wanted in (("machine_key", machines), ("model", models), ("commit", commits)):
        if wanted:
            mask &= frame[column].isin(list(wanted))
    return frame[mask]


def latest(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the newest row of each cell on each machine."""
    ordered = frame.sort_values("date", kind="stable", na_position="first")
    return ordered.drop_duplicates(["machine_key", "cell"], keep="last")


def groups(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return rows that may stand in one picture, by machine, model and lengths.

    First those that were measured, of several batches, with most arms, then with most rows.
    """
    found = {}
    for (key, model, prompt, new), rows in frame.groupby(
        ["machine_key", "model", "prompt_len", "new_tokens"], sort=True
    ):
        machine = rows["machine"].iloc[0]
        name = f"{model}, prompt {prompt}, {new} new tokens, {machine}"
        found[f"{name} ({key})" if name in found else name] = rows
    return dict(sorted(found.items(), key=lambda item: _rank(item[1])))


def _rank(rows: pd.DataFrame) -> tuple[bool, bool, int, int]:
    """Return what is smallest for the rows that are most worth a picture."""
    made_up = bool(rows["synthetic"].notna().any())
    arms, batches = len(set(rows["arm"])), len(set(rows["batch"]))
    return made_up, batches == 1, -arms, -len(rows)
