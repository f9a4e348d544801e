from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.results.store import (
    Journal,
    check_benchmarks,
    check_file,
    check_writable,
    measured,
    read,
    synthetic,
    write_whole,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "was not written by perfkit"),
        ('{"benchmarks": []}', "has no perfkit.cells"),
        ('{"perfkit": {"schema": 99, "cells": {}}}', "schema 99, expected 1"),
    ],
)
def test_a_corrupt_or_foreign_file_is_named_and_kept(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "result.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        read(file)
    assert file.read_text(encoding="utf-8") == text


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    write_whole(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "\ud800")
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to"):
        check_writable(tmp_path / "file" / "results")
    with pytest.raises(UsageError, match="it is a folder; expected the name of a file"):
        check_file(tmp_path)
    check_file(tmp_path / "file")


def test_the_journal_gives_back_what_finished_and_drops_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.append("m", "a", {"verdict": "ok"}, {"fullname": "x[a]"})
    journal.append("m", "b", {"verdict": "oom"}, None)
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"machine": "m", "id": "c"')
    expected = {"a": ({"verdict": "ok"}, {"fullname": "x[a]"}), "b": ({"verdict": "oom"}, None)}
    assert journal.read("m") == expected
    journal.append("m", "c", {"verdict": "ok"}, None)
    assert set(journal.read("m")) == {"a", "b", "c"}


@pytest.mark.parametrize("torn", ["", "x", "x" * 200_000])
@pytest.mark.parametrize("whole", ["", "{}\n", "{}\n" * 50_000])
def test_mending_keeps_whole_lines_and_says_whether_one_was_torn(
    tmp_path: Path, whole: str, torn: str
) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text(whole + torn, encoding="utf-8")
    assert Journal(path).mend() is bool(torn)
    assert path.read_text(encoding="utf-8") == whole
    assert not Journal(tmp_path / "none").mend()


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_half(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from perfkit.results.store import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "journal.append('m', 'a', {'verdict': 'ok'}, None)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: journal.append('m', 'b', {'verdict': 'ok'}, None)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    path = tmp_path / "journal.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() in {"No space left on device", "File too large"}
    assert not Journal(path).mend()
    assert set(Journal(path).read("m")) == {"a"}


def test_another_machines_journal_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("h100", "a", {"verdict": "ok"}, None)
    with pytest.raises(UsageError, match="belongs to h100, this machine is h200"):
        journal.read("h200")


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("nonsense\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"journal.jsonl:1 is no journal line"):
        Journal(path).read("m")


def test_a_verdict_that_is_none_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("m", "a", {"verdict": "okay"}, None)
    with pytest.raises(UsageError, match=r"journal.jsonl:1: unknown verdict 'okay': did you mean"):
        journal.read("m")


def test_all_files_that_cannot_be_compared_with_are_named_at_once(tmp_path: Path) -> None:
    check_benchmarks(tmp_path / "none")
    (tmp_path / "0001_good.json").write_text('{"benchmarks": []}', encoding="utf-8")
    check_benchmarks(tmp_path)
    (tmp_path / "0002_torn.json").write_text('{"bench', encoding="utf-8")
    (tmp_path / "0003_foreign.json").write_text("[]", encoding="utf-8")
    words = r"0002_torn.json is not JSON; .*0003_foreign.json holds no benchmarks; mend or move"
    with pytest.raises(UsageError, match=words):
        check_benchmarks(tmp_path)


@pytest.mark.parametrize("block", ["perfkit", "perfkit_attention"])
@pytest.mark.parametrize(
    ("value", "maker"), [("a script", "a script"), (True, "True"), ("", ""), (None, None)]
)
def test_a_document_says_what_made_it_where_nobody_measured_it(
    block: str, value: object, maker: str | None
) -> None:
    assert synthetic({block: {"cells": {}, "synthetic": value}}) == maker
    assert synthetic({block: {"cells": {}}}) is None
    assert synthetic({}) is None


def test_what_judges_gets_no_synthetic_document() -> None:
    honest = {"perfkit": {"cells": {}}}
    assert measured(honest, Path("a.json")) is honest
    with pytest.raises(UsageError, match=r"b\.json is synthetic \(made by a script\)"):
        measured({"perfkit": {"cells": {}, "synthetic": "a script"}}, Path("b.json"))


@pytest.mark.parametrize(
    ("cells", "words"),
    [({"x": []}, "its cell x is no object"), ({"x": {"metrics": 1}}, "metrics of its cell x is")],
)
def test_a_file_with_damaged_cells_is_named(
    tmp_path: Path, cells: dict[str, object], words: str
) -> None:
    path = tmp_path / "made.json"
    path.write_text(json.dumps({"perfkit": {"schema": 1, "cells": cells}}), encoding="utf-8")
    with pytest.raises(UsageError, match=f"made.json is damaged: {words}"):
        read(path)
