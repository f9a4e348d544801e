from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from perfkit.errors import UsageError
from perfkit.gating.against import checkout, environment

if TYPE_CHECKING:
    from pathlib import Path


def git(*arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    for text in ("one", "two"):
        (tmp_path / "file").write_text(text, encoding="utf-8")
        git("add", "file")
        git("commit", "-qm", text)
    return tmp_path


def test_another_commit_is_checked_out_beside_this_one_and_gone_after(repository: Path) -> None:
    (repository / "file").write_text("not committed", encoding="utf-8")
    with checkout("HEAD~1", repository) as place:
        assert (place / "file").read_text(encoding="utf-8") == "one"
        assert environment(place)["PYTHONPATH"].split(os.pathsep)[0] == str(place)
    assert not place.exists()
    assert (repository / "file").read_text(encoding="utf-8") == "not committed"
    listed = subprocess.run(["git", "worktree", "list"], check=True, capture_output=True, text=True)
    assert len(listed.stdout.splitlines()) == 1


@pytest.mark.parametrize("revision", ["nowhere", "--help"])
def test_a_revision_that_is_none_is_refused(repository: Path, revision: str) -> None:
    with (
        pytest.raises(UsageError, match="--against: git rev-parse failed"),
        checkout(revision, repository),
    ):
        pass


def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="--against: git rev-parse failed"),
        checkout("HEAD", tmp_path),
    ):
        pass
