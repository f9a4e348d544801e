"""Recorded arrivals: CSV or Parquet, with Azure's columns as they are or with ours."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from perfkit.batching.lengths import MOST_TOKENS
from perfkit.errors import UsageError, first_line

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]
    Tokens = npt.NDArray[np.int64]

AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
OURS = ("arrival_s", "prompt_tokens", "new_tokens")


@dataclass(frozen=True, eq=False)
class Trace:
    """What came when: seconds after the first request, and each request's tokens; read-only.

    ``duplicates`` counts the requests that came at the very time of the one before: they are kept.
    """

    arrival_s: Floats
    prompt_tokens: Tokens
    new_tokens: Tokens
    duplicates: int

    def __len__(self) -> int:
        """Return the number of requests."""
        return len(self.arrival_s)


def read_trace(path: Path) -> Trace:
    """Read a trace by its suffix: ``.parquet`` needs pyarrow, all else is read as CSV.

    Columns: TIMESTAMP (a time of ISO 8601; UTC where it names no zone), ContextTokens and
    GeneratedTokens, as the Azure LLM inference traces have them; or arrival_s (seconds),
    prompt_tokens and new_tokens. Others are ignored. Raises UsageError, naming file and column,
    for what cannot be read, is missing, empty, no number, negative, or runs backwards in time, for
    rows of more fields than the header, and for token counts that are not whole numbers from 1 to
    MOST_TOKENS.
    """
    frame = _frame(path)
    time, prompt, new = _columns(frame, path)
    if not len(frame):
        raise UsageError(f"{path} has columns and no rows: give a trace of at least one request")
    came = _timestamps(frame[time], path) if time == AZURE[0] else _seconds(frame[time], path)
    gaps = np.diff(came)
    if np.any(gaps < 0):
        row = int(np.flatnonzero(gaps < 0)[0]) + 1
        raise UsageError(
            f"{path}: column {time} runs backwards at {_row(row)} ({frame[time].iloc[row]} after "
            f"{frame[time].iloc[row - 1]}): arrivals must be in order of time; sort the file by it"
        )
    columns = (came - came[0], _tokens(frame[prompt], path), _tokens(frame[new], path))
    for column in columns:
        column.setflags(write=False)
    return Trace(*columns, duplicates=int(np.sum(gaps == 0)))


def _frame(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise UsageError(f"no trace at {path}: give a CSV or Parquet file")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        with warnings.catch_warnings():  # else fields over the header's are left out with a warning
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, index_col=False)
    except pd.errors.ParserWarning:
        raise UsageError(
            f"{path} has rows of more fields than its header: mend one or the other"
        ) from None
    except ImportError as error:
        raise UsageError(
            f"{path}: reading Parquet needs pyarrow: pip install 'perfkit[batching]', or give CSV"
        ) from error
    except (ValueError, OSError) as error:  # pandas' and pyarrow's own errors are ValueErrors
        kind = "Parquet" if path.suffix == ".parquet" else "CSV"
        raise UsageError(
            f"{path} cannot be read as {kind} ({first_line(error)}): expected columns "
            f"{', '.join(AZURE)} or {', '.join(OURS)}"
        ) from error


def _columns(frame: pd.DataFrame, path: Path) -> tuple[str, str, str]:
    """Return the names of the three columns: the kind of which more are there."""
    names = set(map(str, frame.columns))
    kind = max((AZURE, OURS), key=lambda kind: len(names.intersection(kind)))
    missing = [name for name in kind if name not in names]
    if missing:
        raise UsageError(
            f"{path} lacks column {', '.join(missing)}: expected {', '.join(AZURE)} or "
            f"{', '.join(OURS)}, found {', '.join(map(str, frame.columns))}; rename its columns"
        )
    return kind


def _timestamps(column: pd.Series, path: Path) -> Floats:
    """Return seconds after the first timestamp; nanoseconds are subtracted as whole numbers."""
    import pandas as pd

    # A bare number could be seconds, milliseconds or nanoseconds of any clock: none is taken.
    expected = "a date and time such as 2023-11-16 18:15:46.68"
    if pd.api.types.is_numeric_dtype(column):
        _refuse(np.ones(len(column), dtype=bool), column, path, expected)
    came = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
    _refuse(came.isna().to_numpy(), column, path, expected)
    whole_ns = came.astype("datetime64[ns, UTC]").astype("int64").to_numpy()
    seconds: Floats = (whole_ns - whole_ns[0]) / 1e9
    return seconds


def _seconds(column: pd.Series, path: Path) -> Floats:
    numbers = _numbers(column)
    wrong = ~(np.isfinite(numbers) & (numbers >= 0))
    _refuse(wrong, column, path, "a number of seconds, 0 or more")
    return numbers


def _tokens(column: pd.Series, path: Path) -> Tokens:
    numbers = _numbers(column)
    wrong = ~((numbers >= 1) & (numbers <= MOST_TOKENS) & (numbers == np.floor(numbers)))
    _refuse(wrong, column, path, f"a whole number of tokens from 1 to {MOST_TOKENS}")
    return numbers.astype(np.int64)


def _numbers(column: pd.Series) -> Floats:
    """Return the column as float64, NaN for what is no number; true and false are none."""
    import pandas as pd

    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return np.full(len(column), np.nan)
    numbers: Floats = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return numbers


def _refuse(wrong: npt.NDArray[np.bool_], column: pd.Series, path: Path, expected: str) -> None:
    if np.any(wrong):
        row = int(np.flatnonzero(wrong)[0])
        more = int(np.sum(wrong)) - 1
        also = f" and {more} more" if more else ""
        raise UsageError(
            f"{path}: column {column.name} has {column.iloc[row]!r} in {_row(row)}{also}: "
            f"expected {expected}; mend or remove such rows"
        )


def _row(index: int) -> str:
    return f"row {index + 1} (without the header)"
