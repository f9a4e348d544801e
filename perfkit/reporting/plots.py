"""Three pictures of one or more result documents: throughput, latency, memory."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from perfkit.reporting.latency import latency
from perfkit.reporting.memory import memory
from perfkit.reporting.scene import set_scene
from perfkit.reporting.throughput import throughput
from perfkit.results.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

DPI = 130


def draw_all(documents: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Write tokens_per_sec.png, latency_cdf.png and memory.png to ``folder``, each whole.

    Of cells measured twice on one machine the latest is drawn. Returns the paths written.
    """
    return [save(figure, folder / f"{name}.png") for name, figure in figures(documents).items()]


def save(figure: Figure, path: Path) -> Path:
    """Write a picture whole, titled; return its path."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Title": title_of(figure)})
    write_whole(path, drawn.getvalue())
    return path


def figures(documents: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Return the pictures by file stem, unsaved."""
    scene = set_scene(documents)
    return {
        "tokens_per_sec": throughput(scene),
        "latency_cdf": latency(scene),
        "memory": memory(scene),
    }


def title_of(figure: Figure) -> str:
    """Return the words above a picture."""
    return figure.get_suptitle()
