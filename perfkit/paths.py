"""Where the files that come with perfkit are: in the repository, or in the installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(relative: str) -> Path:
    """Return the path of a file that comes with perfkit, such as ``data/prompts.txt``."""
    inside = _PACKAGE / "shipped" / relative
    return inside if inside.exists() else _PACKAGE.parent / relative


def matrices() -> dict[str, Path]:
    """Return the matrices that come with perfkit, by name."""
    return {path.stem: path for path in sorted(shipped("configs/matrices").glob("*.toml"))}
