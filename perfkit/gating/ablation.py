"""``perfkit ablation``: fresh runs of a matrix, or stored ones, and the report of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.gating.fresh import fresh_run
from perfkit.reporting import ablation as report
from perfkit.results import store
from perfkit.results.ablation import Pair, ablate
from perfkit.results.validity import read_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from perfkit.suite import Measuring


def make_runs(
    what: Measuring,
    ids: Sequence[str],
    count: int,
    folder: Path,
    *,
    resume: bool,
    say: Callable[[str], None],
) -> list[Path]:
    """Measure the cells ``count`` times, each in a fresh process, into numbered files.

    With ``resume`` files that are there already are kept.
    """
    made = []
    for number in range(1, count + 1):
        path = folder / f"{number:04}_run.json"
        if not (resume and path.is_file()):
            fresh_run(what, ids, path, seed=what.seed + number)
            say(f"run {number} of {count}: {path}")
        made.append(path)
    return made


def write_report(files: Sequence[Path], output: Path, plots: Path) -> tuple[list[Pair], list[Path]]:
    """Write fmha_ablation.md, .html and .json into ``output`` and the picture into ``plots``.

    Raises UsageError for files that cannot be read, and where they hold no pair.
    """
    documents = [read_run(path) for path in files]
    pairs = ablate(documents)
    if not pairs:
        raise UsageError("no two cells differ in attention alone: measure nofmha beside fmha")
    for folder in (output, plots):
        store.check_writable(folder)
    found = {
        "md": report.markdown(pairs, documents),
        "html": report.html_fragment(pairs, documents),
        "json": json.dumps(report.to_json(pairs, documents), indent=1),
    }
    written = []
    for suffix, content in found.items():
        path = output / f"fmha_ablation.{suffix}"
        store.write_whole(path, content)
        written.append(path)
    from perfkit.reporting.plots import save

    picture = save(report.figure(pairs), plots / "fmha_ablation.png", documents)
    return pairs, [*written, picture]
