"""Which cells share a process, and in which order they are measured."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.backends import backend

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from perfkit.plan import PlannedCell


@dataclass(frozen=True)
class Group:
    """Cells that can share one loaded model, in the order in which they are measured."""

    cells: tuple[PlannedCell, ...]

    @property
    def name(self) -> str:
        """As in ``llama2-7b bf16 tp1``."""
        case = self.cells[0].case
        return f"{case.model} {case.precision} tp{case.tp}"

    @property
    def gpus(self) -> int:
        """How many GPUs its process needs, where it is measured on GPUs."""
        return self.cells[0].case.tp

    @property
    def ids(self) -> tuple[str, ...]:
        """The cells' ids."""
        return tuple(cell.case.id for cell in self.cells)


def grouped(cells: Sequence[PlannedCell], seed: int) -> tuple[Group, ...]:
    """Group cells by what they load, and shuffle groups and the workloads in each by ``seed``.

    A machine that grows warmer or busier so meets no axis of the matrix in its order. The arms of
    one workload (batch, prompt, new tokens) stay together, since ratios compare them.
    """
    by_load: dict[Hashable, dict[Hashable, list[PlannedCell]]] = {}
    for cell in cells:
        case = cell.case
        load = (cell.device, case.tp, backend(case.backend).load_key(case))
        work = (case.batch, case.prompt_len, case.new_tokens)
        by_load.setdefault(load, {}).setdefault(work, []).append(cell)
    draw = random.Random(seed)  # noqa: S311  (an order, no secret)
    groups = []
    for works in by_load.values():
        order = list(works.values())
        draw.shuffle(order)
        groups.append(Group(tuple(cell for arms in order for cell in arms)))
    draw.shuffle(groups)
    return tuple(groups)
