"""plots/gallery: each picture is there, and the README names what ``make gallery`` runs."""

from __future__ import annotations

import re
from pathlib import Path

GALLERY = Path(__file__).resolve().parents[1] / "plots" / "gallery"


def test_the_readme_shows_every_picture_and_none_that_is_missing() -> None:
    shown = re.findall(r"!\[[^\]]{10,}\]\(([^)]+)\)", (GALLERY / "README.md").read_text("utf-8"))
    there = sorted(path.relative_to(GALLERY).as_posix() for path in GALLERY.rglob("*.png"))
    assert sorted(shown) == there


def test_the_commands_read_files_that_are_there() -> None:
    text = (GALLERY / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"\b(?:baselines|data)/[^\s:)\\]+\.(?:json|csv)(?:\.gz)?", text)
    assert len(named) >= 6
    for pattern in named:
        assert list(GALLERY.parents[1].glob(pattern)), pattern
