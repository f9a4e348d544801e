"""All pictures of one or more result documents, and how each is saved."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError, unknown
from perfkit.reporting.batches import throughput_vs_batch
from perfkit.reporting.latency import latency
from perfkit.reporting.mark import stamp
from perfkit.reporting.memory import memory
from perfkit.reporting.pareto import throughput_latency_pareto
from perfkit.reporting.profiling import breakdown
from perfkit.reporting.prompts import latency_vs_prompt
from perfkit.reporting.scene import set_scene
from perfkit.reporting.throughput import throughput
from perfkit.results.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

DPI = 130


def draw_all(
    documents: Sequence[Mapping[str, Any]], folder: Path, only: Collection[str] | None = None
) -> list[Path]:
    """Write the pictures of ``figures`` to ``folder``, each whole; return their paths.

    ``only`` names some of them. Of cells measured twice on one machine the latest is drawn. Raises
    UsageError for a picture that these documents do not make.
    """
    drawn = figures(documents)
    for name in only or ():
        if name not in drawn:
            raise UsageError(unknown("picture", name, tuple(drawn)))
    drawn = {name: figure for name, figure in drawn.items() if not only or name in only}
    return [save(figure, folder / f"{name}.png", documents) for name, figure in drawn.items()]


def save(figure: Figure, path: Path, documents: Sequence[Mapping[str, Any]]) -> Path:
    """Write a picture of these documents whole, titled, and marked where any is synthetic.

    Returns its path. Every picture is written here, so that none goes without its mark.
    """
    stamp(figure, documents)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, metadata={"Title": title_of(figure)})
    write_whole(path, drawn.getvalue())
    return path


def figures(documents: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Return the pictures by file stem, unsaved; the last four only where they show something."""
    scene = set_scene(documents)
    drawn = {
        "tokens_per_sec": throughput(scene),
        "latency_cdf": latency(scene),
        "memory": memory(scene),
        "throughput_vs_batch": throughput_vs_batch(scene),
        "latency_vs_prompt": latency_vs_prompt(scene),
        "throughput_latency_pareto": throughput_latency_pareto(scene),
        "kernel_breakdown": breakdown(documents),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def memory_figure(documents: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the picture of memory alone, unsaved."""
    return memory(set_scene(documents))


def title_of(figure: Figure) -> str:
    """Return the words above a picture."""
    return figure.get_suptitle()
