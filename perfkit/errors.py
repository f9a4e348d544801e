"""The one error that a person caused and can mend."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError


class UsageError(ValueError):
    """Wrong use: what came, what was expected, what to do. Ends a command with exit code 2."""


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def in_one_line(error: ValidationError, known: Iterable[str]) -> str:
    """Return every problem that validation found; ``known`` are the keys there could be."""
    parts = []
    for problem in error.errors():
        place = ".".join(str(step) for step in problem["loc"])
        if problem["type"] == "extra_forbidden":
            parts.append(unknown("key", place, known))
        elif problem["type"] == "missing":
            parts.append(f"{place} is missing")
        else:
            text = problem["msg"].removeprefix("Value error, ")
            parts.append(f"{place}: {text}, got {problem['input']!r}" if place else text)
    return "; ".join(parts)


def unknown(kind: str, given: str, known: Iterable[str]) -> str:
    """Say that ``given`` is no known ``kind``, naming the nearest known one first."""
    names = sorted(known)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {kind} {given!r}: {hint}known: {', '.join(names)}"
