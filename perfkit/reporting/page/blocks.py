"""What a report is made of, as values: sections of tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Table:
    """Rows of text under ``headers``; those in ``texts`` are words, the others numbers.

    ``folded`` tables are closed until a reader opens them.
    """

    caption: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: frozenset[str] = frozenset()
    folded: bool = True


@dataclass(frozen=True)
class Picture:
    """A picture as ``svg`` text or as a Vega-Lite ``spec``, of inert JSON.

    ``label`` is its text alternative; ``failed`` says why it is neither.
    """

    label: str
    svg: str | None = None
    spec: str | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Section:
    """One heading of the page; ``words`` are its paragraphs."""

    name: str
    title: str
    words: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = field(default_factory=tuple)


@dataclass(frozen=True)
class Part:
    """Sections of the same kind of documents; ``mark`` says that nobody measured them."""

    name: str
    title: str
    mark: str | None
    sections: Sequence[Section]


def digits(value: float) -> str:
    """Return a number with four digits, whole where it has more, as people read it."""
    return f"{value:,.0f}" if abs(value) >= 9999.5 else f"{value:,.4g}"
