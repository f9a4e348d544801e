from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perfkit.batching.traces import read_trace
from perfkit.errors import UsageError

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-16 18:15:50.9951690,879,55
"""
OURS = "arrival_s,prompt_tokens,new_tokens\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "trace.csv"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> str:
    path = written(folder, text)
    with pytest.raises(UsageError) as caught:
        read_trace(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_azures_columns_are_read_as_they_are_and_ties_are_kept_and_counted(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, AZURE))
    assert trace.arrival_s.tolist() == [0.0, 4.314579, 4.314579]
    assert trace.prompt_tokens.tolist() == [374, 396, 879]
    assert trace.new_tokens.tolist() == [44, 109, 55]
    assert trace.duplicates == 1
    assert len(trace) == 3


def test_times_with_a_zone_or_without_fractions_are_the_same_clock(tmp_path: Path) -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,1,2\n"
    later = text + "2024-05-10T02:00:01+02:00,1,2\n"
    assert read_trace(written(tmp_path, later)).arrival_s.tolist() == [0.0, 0.99007]


def test_our_columns_start_at_zero_in_any_order_beside_others(tmp_path: Path) -> None:
    text = "id,new_tokens,arrival_s,prompt_tokens\na,3,2.5,10\nb,4.0,3.75,20\n"
    trace = read_trace(written(tmp_path, text))
    assert trace.arrival_s.tolist() == [0.0, 1.25]
    assert (trace.prompt_tokens.tolist(), trace.new_tokens.tolist()) == ([10, 20], [3, 4])
    assert trace.new_tokens.dtype == np.int64
    assert trace.duplicates == 0


def test_a_trace_cannot_be_changed(tmp_path: Path) -> None:
    trace = read_trace(written(tmp_path, AZURE))
    for column in (trace.arrival_s, trace.prompt_tokens, trace.new_tokens):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_time_that_runs_backwards_is_refused_with_its_row(tmp_path: Path) -> None:
    said = refused(tmp_path, OURS + "0,1,1\n2.5,1,1\n1.5,1,1\n")
    assert "column arrival_s runs backwards at row 3" in said
    assert "1.5 after 2.5" in said
    assert "sort the file by it" in said
    lines = AZURE.splitlines()
    said = refused(tmp_path, "\n".join([lines[0], lines[2], lines[1]]))
    assert "column TIMESTAMP runs backwards at row 2" in said


def test_missing_columns_are_named_with_those_found(tmp_path: Path) -> None:
    said = refused(tmp_path, "TIMESTAMP,ContextTokens\n2023-11-16 18:15:46,374\n")
    assert "lacks column GeneratedTokens" in said
    assert "found TIMESTAMP, ContextTokens" in said
    said = refused(tmp_path, "arrival_s,tokens\n0,1\n")
    assert "lacks column prompt_tokens, new_tokens" in said


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_no_trace(tmp_path: Path, text: str) -> None:
    assert "cannot be read as CSV" in refused(tmp_path, text)


def test_a_header_alone_is_no_trace(tmp_path: Path) -> None:
    assert "columns and no rows" in refused(tmp_path, OURS)


@pytest.mark.parametrize("bad", ["-1", "", "nan", "inf", "0", "1.5", "many", "1e300", "10000001"])
def test_bad_token_counts_name_column_and_row(tmp_path: Path, bad: str) -> None:
    for row, column in ((f"1,{bad},1", "prompt_tokens"), (f"1,1,{bad}", "new_tokens")):
        said = refused(tmp_path, f"{OURS}0,1,1\n{row}\n")
        assert f"column {column} has" in said
        assert "row 2 " in said
        assert "expected a whole number of tokens from 1 to 10000000" in said


@pytest.mark.parametrize("bad", ["-1", "", "nan", "inf", "soon"])
def test_bad_times_name_column_and_row(tmp_path: Path, bad: str) -> None:
    said = refused(tmp_path, f"{OURS}{bad},1,1\n{bad},1,1\n3,1,1\n")
    assert "column arrival_s has" in said
    assert "row 1 (without the header) and 1 more: expected a number of seconds" in said


@pytest.mark.parametrize("bad", ["", "yesterday", "2023-13-45 00:00:00"])
def test_bad_timestamps_name_column_and_row(tmp_path: Path, bad: str) -> None:
    said = refused(tmp_path, AZURE + f"{bad},1,1\n")
    assert "column TIMESTAMP has" in said
    assert "row 4 " in said


def test_bare_numbers_are_no_timestamps(tmp_path: Path) -> None:
    said = refused(tmp_path, "TIMESTAMP,ContextTokens,GeneratedTokens\n1700000000,1,1\n")
    assert "column TIMESTAMP has" in said
    assert "expected a date and time" in said


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("0,1,1,9\n1,1,1,9\n", "rows of more fields than its header"),
        ("0,1,1\n1,1,1,9\n", "cannot be read as CSV"),
    ],
)
def test_a_row_of_more_fields_than_the_header_is_refused_in_a_line(
    tmp_path: Path, rows: str, words: str
) -> None:
    said = refused(tmp_path, OURS + rows)
    assert words in said
    assert "\n" not in said


def test_what_is_no_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xff\xfe\x00\x81" * 10)
    with pytest.raises(UsageError, match="cannot be read as CSV"):
        read_trace(path)
    with pytest.raises(UsageError, match="no trace at"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="no trace at"):
        read_trace(tmp_path)


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    csv, parquet = written(tmp_path, AZURE), tmp_path / "trace.parquet"
    frame = pd.read_csv(csv)
    for times in (frame["TIMESTAMP"], pd.to_datetime(frame["TIMESTAMP"])):
        frame.assign(TIMESTAMP=times).to_parquet(parquet)
        assert read_trace(parquet).arrival_s.tolist() == read_trace(csv).arrival_s.tolist()
    parquet.write_text(AZURE)
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        read_trace(parquet)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(path: Path) -> pd.DataFrame:
        raise ImportError(f"no engine for {path}")

    monkeypatch.setattr(pd, "read_parquet", absent)
    (tmp_path / "trace.parquet").write_text("")
    with pytest.raises(UsageError, match=r"needs pyarrow: pip install 'perfkit\[batching\]'"):
        read_trace(tmp_path / "trace.parquet")


def test_azures_conversation_trace_is_read_whole() -> None:
    fixtures = os.environ.get("PERFKIT_FIXTURES")
    path = Path(fixtures or "", "arrivals", "AzureLLMInferenceTrace_conv.csv")
    if fixtures is None or not path.is_file():
        pytest.skip("PERFKIT_FIXTURES is not set, or holds no arrivals")
    trace = read_trace(path)
    assert len(trace) == 19_366
    # 18:15:46.6805900 to 19:14:08.4025270.
    assert trace.arrival_s[-1] == pytest.approx(3501.721937, abs=1e-9)
    assert (trace.prompt_tokens[0], trace.new_tokens[-1]) == (374, 183)
    assert np.mean(trace.prompt_tokens) == pytest.approx(1154.7, abs=0.1)
    gaps = np.diff(trace.arrival_s)
    assert np.std(gaps) / np.mean(gaps) == pytest.approx(1.09, abs=0.01)
