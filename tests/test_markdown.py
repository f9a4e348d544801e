"""Every Markdown file: its relative links lead to files, and their anchors to headings."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+(?:\([^()]*\))?[^()\s]*)\)|(?:src|href)=\"([^\"]+)\"")
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
ELSEWHERE = ("http://", "https://", "mailto:")


def documents(root: Path) -> list[Path]:
    """Return the Markdown files under a folder; those of tools, in hidden folders, are left out."""
    found = []
    for folder, inner, names in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".") and name != "node_modules"]
        found += [Path(folder, name) for name in names if name.endswith(".md")]
    return sorted(found)


def anchors(text: str) -> set[str]:
    """Return the anchors of a text's headings as GitHub makes them; one that comes again counts."""
    seen: dict[str, int] = {}
    found = set()
    for heading in HEADING.findall(FENCE.sub("", text)):
        words = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found


def broken(path: Path) -> list[str]:
    """Return the links of a file that lead nowhere."""
    text = path.read_text(encoding="utf-8")
    prose = CODE.sub("", FENCE.sub("", text))
    found = []
    for one, other in LINK.findall(prose):
        link = one or other
        if link.startswith(ELSEWHERE):
            continue
        place, _, anchor = link.partition("#")
        target = path.parent / place if place else path
        if not target.exists():
            found.append(f"{link}: no such file")
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            found.append(f"{link}: no such heading")
    return found


@pytest.mark.parametrize("path", documents(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    assert broken(path) == []


def test_a_broken_link_is_seen_and_code_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(
        "# One `two`, three!\n## One `two`, three!\n"
        "[a](none.md) ![b](pictures/none.png) [c](#one-two-three) [d](#one-two-three-1)\n"
        "[e](a.md#four) [f](https://example.org/none) `[g](none)` [h](<none>)\n"
        "```\n[i](none)\n# five\n```\n[j](#five)\n",
        encoding="utf-8",
    )
    assert broken(path) == [
        "none.md: no such file",
        "pictures/none.png: no such file",
        "a.md#four: no such heading",
        "<none>: no such file",
        "#five: no such heading",
    ]
