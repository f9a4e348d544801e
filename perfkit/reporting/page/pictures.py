"""Pictures that stand in a page: a figure as SVG text, and documents whose names fit in one."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import re
from typing import TYPE_CHECKING, Any, Protocol

from perfkit.reporting.mark import mark_of, stamp
from perfkit.reporting.page.blocks import Picture
from perfkit.results.store import cells_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from matplotlib.figure import Figure

    from perfkit.results.store import Document

_LONGEST = 40
_NAMES = ("backend", "model", "precision", "attention")
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: it can be found, read aloud and copied
    "svg.hashsalt": "perfkit",
    "font.family": ["DejaVu Sans", "sans-serif"],
    "text.parse_math": False,  # a name may hold dollar signs
}


def _style() -> AbstractContextManager[None]:
    import matplotlib as mpl

    return mpl.rc_context(_STYLE)


class Draw(Protocol):
    """Makes a section's picture, of a figure or of a chart; none where there is nothing to draw."""

    def __call__(
        self, label: str, still: Callable[[], Figure | None], chart: Callable[[], Any]
    ) -> list[Picture]:
        """Return the picture, as a list of one or none."""


def has_charts() -> bool:
    """Say whether the extra ``report`` is installed."""
    return all(importlib.util.find_spec(name) for name in ("altair", "vl_convert"))


def drawing(documents: Sequence[Mapping[str, Any]], *, interactive: bool) -> Draw:
    """Return what draws pictures of these documents: charts, or figures as SVG.

    What cannot be drawn is a picture that says so: the tables beside it still stand.
    """

    def draw(
        label: str, still: Callable[[], Figure | None], chart: Callable[[], Any]
    ) -> list[Picture]:
        try:
            if interactive:
                made = chart()
                return [] if made is None else [Picture(label, spec=_spec(made, documents))]
            with _style():
                if (figure := still()) is None:
                    return []
                return [Picture(label, svg=svg_of(figure, documents))]
        except Exception as error:  # names and figures of any file are drawn: one may be too odd
            return [Picture(label, failed=f"not drawn, {type(error).__name__}: {error}"[:300])]

    return draw


def _spec(chart: Any, documents: Sequence[Mapping[str, Any]]) -> str:
    mark = mark_of(documents)
    spec: dict[str, Any] = chart.to_dict()
    if mark is not None:
        spec["title"] = {"text": mark, "color": "#B00020", "fontSize": 13, "anchor": "start"}
    return inert_json(spec)


def inert_json(value: Mapping[str, Any]) -> str:
    """Return JSON in which nothing can end the script element that it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def svg_of(figure: Figure, documents: Sequence[Mapping[str, Any]]) -> str:
    """Return a figure as an SVG element of its own names, marked where a document is synthetic."""
    stamp(figure, documents)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # One page holds many pictures: what one refers to must not be found in another.
    prefix = f"p{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    text = re.sub(r'(\sid="|="#|url\(#)', rf"\g<1>{prefix}-", text)
    return text.replace("<svg", '<svg aria-hidden="true"', 1)


def short_named(document: Document) -> Document:
    """Return a document whose names fit beside a bar; tables have them whole."""
    cells = {
        name: cell | {"case": _short(cell["case"])} for name, cell in cells_of(document).items()
    }
    machine = {
        key: clipped(str(value)) if key == "name" and value is not None else value
        for key, value in (document["perfkit"].get("machine") or {}).items()
    }
    return document | {"perfkit": document["perfkit"] | {"cells": cells, "machine": machine}}


def clipped(text: str, longest: int = 2 * _LONGEST) -> str:
    """Return a text of printable letters that is short enough for a picture."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in text[: longest + 1])
    return plain if len(plain) <= longest else f"{plain[: longest - 1]}…"


def _short(case: Mapping[str, Any]) -> dict[str, Any]:
    return {**case, **{name: clipped(case[name], _LONGEST) for name in _NAMES}}
