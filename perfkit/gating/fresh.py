"""Fresh runs: one process measures a matrix once. The unit of replication of every comparison."""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.results import store
from perfkit.suite import command

# Of pytest: all passed, or some cell is broken; asked wrongly.
_FINISHED = (0, 1)
_WRONG_USE = 4

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from perfkit.results.store import Document
    from perfkit.suite import Measuring


class InvalidRunError(UsageError):
    """A run that must not be compared, or that never came about; ``problems`` say why."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep the problems."""
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def fresh_run(
    what: Measuring,
    case_ids: Sequence[str],
    output: Path,
    *,
    seed: int,
    place: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Document:
    """Measure the cells once, in an order drawn from ``seed``, in a process of its own.

    The file ``output`` is there only once all cells have a verdict. ``place`` is another checkout
    to run in. Raises UsageError for what pytest was asked wrongly, else InvalidRunError, with the
    end of what it said, where the process died or was interrupted.
    """
    if not case_ids:
        raise UsageError("no cell to measure")
    order = random.Random(seed).sample(list(case_ids), len(case_ids))  # noqa: S311  (an order)
    partial = output.with_name(f".{output.name}.partial")
    made = command(
        replace(what, seed=seed), order, output=partial, journal=None, resume=False, root=place
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    partial.unlink(missing_ok=True)
    done = subprocess.run(
        made,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode not in _FINISHED or not partial.is_file():
        partial.unlink(missing_ok=True)
        told = "\n".join(done.stdout.splitlines()[-15:])
        problem = f"a run ended with {done.returncode} and no result file:\n{told}"
        raise UsageError(problem) if done.returncode == _WRONG_USE else InvalidRunError([problem])
    document = store.read(partial)
    partial.replace(output)
    return document
