"""The pytest command that measures cells: what `perfkit run` and a sweep's workers start."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.paths import shipped

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Measuring:
    """What all cells of one command share: where they come from, and how thoroughly to measure.

    ``device`` is "cpu" or "gpu"; ``cell_timeout_s`` None leaves pytest's own limit. ``for_gate``
    times the canaries at both ends and leaves out the ceilings, which a gate has no use for.
    ``profile`` is the folder for what ``profiler`` (torch, nsys or ncu) sees after the rounds.
    """

    matrices: tuple[str, ...]
    model: Path | None
    device: str
    prompts: Path | None
    rounds: int
    max_warmup: int
    seed: int
    cell_timeout_s: float | None = None
    for_gate: bool = False
    profile: Path | None = None
    profiler: str = "torch"


def command(
    what: Measuring,
    case_ids: Iterable[str],
    *,
    output: Path | None,
    journal: Path | None,
    resume: bool,
    root: Path | None = None,
) -> list[str]:
    """Return the arguments of a process that measures these cells, in this order.

    It appends each finished cell to ``journal`` and writes ``output`` at its end, where given; with
    ``resume`` it leaves out the cells that the journal holds, and puts them into ``output`` too.
    ``root`` is another checkout whose suite to run.
    """
    path = "benchmarks/test_generation.py"
    suite = shipped(path) if root is None else root / path
    made = [sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=line"]
    made += ["-p", "no:cacheprovider", "--rootdir", str(suite.parent.parent), "--benchmark-quiet"]
    if not (suite.parent.parent / "conftest.py").is_file():
        made += ["-p", "perfkit.pytest_plugin"]
    if output is not None:
        made.append(f"--benchmark-json={output.resolve()}")
    if journal is not None:
        made.append(f"--perfkit-journal={journal.resolve()}")
    made += [f"--perfkit-device={what.device}", f"--perfkit-rounds={what.rounds}"]
    made += [f"--perfkit-max-warmup={what.max_warmup}", f"--perfkit-seed={what.seed}"]
    made += [f"--perfkit-matrix={name}" for name in what.matrices]
    if what.model:
        made.append(f"--perfkit-model={what.model}")
    if what.prompts:
        made.append(f"--perfkit-prompts={what.prompts}")
    if what.cell_timeout_s is not None:
        made.append(f"--perfkit-cell-timeout={what.cell_timeout_s}")
    if what.for_gate:
        made += ["--perfkit-canaries", "--perfkit-no-ceilings"]
    if what.profile is not None:
        made += [f"--perfkit-profile={what.profile}", f"--perfkit-profiler={what.profiler}"]
    if resume:
        made.append("--perfkit-resume")
    return [*made, *(f"{suite}::test_generation[{case_id}]" for case_id in case_ids)]
