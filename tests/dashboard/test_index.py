from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from perfkit.dashboard import index
from perfkit.dashboard.index import Index, parse
from perfkit.dashboard.slim import slim
from tests.dashboard.files import SWEEP, room, run, validation, write

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_good_files_are_read_and_each_broken_one_is_named_with_its_reason(tmp_path: Path) -> None:
    shelf = Index([room(tmp_path / "r")]).shelf()
    assert [one.label for one in shelf.of(index.GENERATION)] == [
        "r/a.json", "r/sub/b.json", "r/sub/c.json",
    ]  # fmt: skip
    assert len(shelf.cells) == 12
    broken = {one.label: one.reason for one in shelf.of(index.BROKEN)}
    assert list(broken) == [f"r/bad/{name}.json" for name in ("empty", "half", "old", "words")]
    assert broken["r/bad/empty.json"] == "is empty"
    assert broken["r/bad/half.json"].startswith("is not JSON (EOF while parsing")
    assert broken["r/bad/old.json"] == "has schema 99, expected 1"
    assert broken["r/bad/words.json"] == "is damaged: case of its cell x is no object"
    assert [one.label for one in shelf.of(index.OTHER)] == ["r/gate.json"]
    assert [one.label for one in shelf.of(index.SWEEP)] == ["r/sweep.csv"]
    assert [one.label for one in shelf.of(index.VALIDATION)] == ["r/validation.json"]


def test_nothing_is_read_twice_and_a_changed_file_alone_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write(tmp_path / f"{name}.json", run())
    made = Index([tmp_path])
    read: list[str] = []

    def counted(label: str, data: bytes) -> index.Source | None:
        read.append(label)
        return parse(label, data)

    monkeypatch.setattr(index, "parse", counted)
    first = made.shelf()
    assert made.shelf() is first
    assert len(read) == 2
    write(tmp_path / "b.json", run(rate=1000.0))
    second = made.shelf()
    assert [label.rsplit("/", 1)[1] for label in read[2:]] == ["b.json"]
    assert second.sources[0] is first.sources[0]
    (tmp_path / "a.json").unlink()
    assert [one.label for one in made.shelf().sources] == [second.sources[1].label]


def test_hidden_files_result_tables_and_pipes_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path / "r/.a.json.12.tmp", "{")
    write(tmp_path / "r/.git/b.json", "{")
    write(tmp_path / "r/table.csv", "cell,backend\nx,torch-eager\n")
    os.mkfifo(tmp_path / "r/pipe.json")
    (tmp_path / "r/gone.json").symlink_to(tmp_path / "nowhere.json")
    shelf = Index([tmp_path / "r"]).shelf()
    assert {one.label: one.reason for one in shelf.sources} == {
        "r/gone.json": "cannot be read: No such file or directory",
        "r/pipe.json": "is no regular file",
    }
    assert shelf.cells.empty


def test_a_single_file_may_be_given(tmp_path: Path) -> None:
    shelf = Index([write(tmp_path / "r/a.json", run())]).shelf()
    assert [one.label for one in shelf.sources] == ["a.json"]


def test_folders_of_one_name_keep_their_files_apart(tmp_path: Path) -> None:
    roots = [tmp_path / "x/results", tmp_path / "y/results"]
    for root in roots:
        write(root / "a.json", run())
    labels = [one.label for one in Index([*roots, roots[0] / "a.json"]).shelf().sources]
    assert labels == ["x/results/a.json", "y/results/a.json"]


def test_samples_are_not_kept() -> None:
    source = parse("a.json", json.dumps(run()).encode())
    assert source is not None
    assert "samples" not in json.dumps(source.document)
    assert "benchmarks" not in source.document


def test_a_sweep_that_lacks_its_columns_is_none_and_a_ragged_one_is_broken() -> None:
    assert parse("a.csv", SWEEP.encode()).kind == index.SWEEP  # type: ignore[union-attr]
    assert parse("a.csv", b"policy,rate\nx,1\n") is None
    ragged = parse("a.csv", (SWEEP + "a,b,c,d,e,f,g,h,i,j,k\n").encode())
    assert ragged is not None
    assert ragged.kind == index.BROKEN
    assert ragged.reason.startswith("cannot be read as a batching sweep")


def test_a_validation_of_another_schema_is_broken() -> None:
    told = validation() | {"perfkit_batching_validation": 7}
    source = parse("v.json", json.dumps(told).encode())
    assert source is not None
    assert (source.kind, source.reason) == (index.BROKEN, "has schema 7, expected 1")
    told = validation() | {"compared": {}}
    source = parse("v.json", json.dumps(told).encode())
    assert source is not None
    assert source.reason == "is damaged: it has no list of what was compared"


def test_a_file_that_nobody_thought_of_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "r/a.json", run())
    write(tmp_path / "r/b.json", run() | {"datetime": "odd"})

    def odd(document: dict[str, object], block: str) -> dict[str, object]:
        if document["datetime"] == "odd":
            raise RuntimeError("nobody thought of this\nat all")
        return slim(document, block)

    monkeypatch.setattr(index, "slim", odd)
    a, b = Index([tmp_path / "r"]).shelf().sources
    assert a.kind == index.GENERATION
    assert (b.kind, b.reason) == (index.BROKEN, "cannot be read: nobody thought of this")
