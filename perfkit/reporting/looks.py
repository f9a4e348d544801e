"""How arms are told apart in pictures and charts: a colour, a line and a marker each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Okabe and Ito's colours, told apart by colour-blind readers; their yellow is lost on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#444444")
# Of these each is seen on a dark page too.
ON_ANY_PAGE = PALETTE[:-1]
# Matplotlib's names of line styles and markers.
LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "P", "v")


@dataclass(frozen=True)
class Look:
    """What one arm is drawn with; ``line`` and ``marker`` as matplotlib names them."""

    colour: str
    line: str
    marker: str


def looks(names: Iterable[str], palette: Sequence[str] = ON_ANY_PAGE) -> dict[str, Look]:
    """Give each name a colour and a marker, in alphabetical order: 36 pairs before one returns."""
    return {
        name: Look(palette[at % len(palette)], LINES[0], _marker(at, len(palette)))
        for at, name in enumerate(sorted(set(names)))
    }


def looks_of(bases: Sequence[str], tails: Sequence[tuple[str, ...]]) -> dict[str, Look]:
    """Give a hue to each base, a tint and a line style to each of its tails, a marker to all."""
    hues, variants = sorted(set(bases)), sorted(set(tails))
    levels = len(variants) * (1 + (len(hues) - 1) // len(PALETTE))
    made = {}
    for at, (base, tail) in enumerate(sorted(set(zip(bases, tails, strict=True)))):
        turn, hue = divmod(hues.index(base), len(PALETTE))
        level = variants.index(tail) + turn * len(variants)
        colour = tint(PALETTE[hue], _share(level, levels))
        line = LINES[level % len(LINES)]
        made[" ".join((base, *tail))] = Look(colour, line, _marker(at, len(PALETTE)))
    return made


def _marker(at: int, colours: int) -> str:
    """Return another marker each time, and another one where the colours begin anew."""
    return MARKERS[(at + at // colours) % len(MARKERS)]


def _share(level: int, levels: int) -> float:
    """Return how far from its hue a level is: lighter and darker by turns, never near white."""
    pairs = max(levels // 2, 1)
    far = 0.35 if pairs == 1 else 0.55
    away = far * ((level + 1) // 2) / pairs
    return away if level % 2 else -away


def tint(colour: str, share: float) -> str:
    """Mix a colour with a share of white, or of black where the share is negative."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    end = 255 if share > 0 else 0
    return "#" + "".join(f"{round(part + (end - part) * abs(share)):02X}" for part in parts)
