"""What makes a picture readable: no words on other words, none outside."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def clashes(figure: Figure) -> list[tuple[str, ...]]:
    """Return words that stand on each other, or alone those that leave the figure, drawn once."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    words = [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(Text)
        if isinstance(text, Text) and text.get_visible() and text.get_text().strip()
    ]
    page = figure.bbox
    outside = [
        (word,)
        for word, box in words
        if box.x0 < page.x0 or box.x1 > page.x1 or box.y0 < page.y0 or box.y1 > page.y1
    ]
    found = [
        (one, two)
        for (one, box), (two, other) in itertools.combinations(words, 2)
        if box.x0 < other.x1 and other.x0 < box.x1 and box.y0 < other.y1 and other.y0 < box.y1
    ]
    return outside + found
