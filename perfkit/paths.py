"""Where the files that come with perfkit are: in the repository, or in the installed package."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(relative: str) -> Path:
    """Return the path of a file that comes with perfkit, such as ``data/prompts.txt``."""
    inside = _PACKAGE / "shipped" / relative
    return inside if inside.exists() else _PACKAGE.parent / relative


def cache() -> Path:
    """Return the folder of what is costly to make again: PERFKIT_CACHE, or ~/.cache/perfkit."""
    return Path(os.environ.get("PERFKIT_CACHE") or Path.home() / ".cache" / "perfkit")


def engine_configs() -> dict[str, Path]:
    """Return the engine configs that come with perfkit, by name."""
    return {path.stem: path for path in sorted(shipped("configs").glob("*.json"))}


def matrices() -> dict[str, Path]:
    """Return the matrices that come with perfkit, by name."""
    return {path.stem: path for path in sorted(shipped("configs/matrices").glob("*.toml"))}
