"""Fresh runs: one process measures a matrix once. The unit of replication of every comparison."""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.results import store
from perfkit.suite import command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from perfkit.results.store import Document
    from perfkit.suite import Measuring


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

    The file ``output`` is written whole. ``place`` is another checkout to run in. Raises UsageError
    with the end of what pytest said where it wrote no file.
    """
    order = random.Random(seed).sample(list(case_ids), len(case_ids))  # noqa: S311  (an order)
    made = command(
        replace(what, seed=seed), order,
        output=output, journal=None, resume=False, root=place,
    )  # fmt: skip
    output.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        made,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if not output.is_file():
        told = "\n".join(done.stdout.splitlines()[-15:])
        raise UsageError(f"a run ended with {done.returncode} and no result file:\n{told}")
    return store.read(output)
