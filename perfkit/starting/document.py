"""The file of ``perfkit start``: what was asked, on which machine, every process and the result."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from perfkit.machine.identity import identify
from perfkit.starting.break_even import break_even, figures
from perfkit.starting.runs import EAGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.starting.runs import Start

SCHEMA = 1
Document = dict[str, Any]


def document(
    start: Start, runs: int, command: Sequence[str], processes: Sequence[Document]
) -> Document:
    """Return the whole file from the reports of all processes."""
    from pytest_benchmark.utils import get_commit_info

    machine = identify(start.device)
    made = {}
    for kind in dict.fromkeys(one["kind"] for one in processes):
        arm = [one for one in processes if (one["kind"] == EAGER) == (kind == EAGER)]
        started = [one for one in arm if one["kind"] == kind]
        made[kind] = figures(started, arm, start.case.new_tokens)
    return {
        "perfkit_start": SCHEMA,
        "command": list(command),
        "datetime": datetime.now(UTC).isoformat(),
        "commit_info": get_commit_info(),
        "machine": {"key": machine.key, "name": machine.name, "fields": machine.fields},
        "case": start.case.id,
        "device": start.device,
        "seed": start.seed,
        "runs": runs,
        "processes": list(processes),
        "figures": {kind: asdict(one) for kind, one in made.items()},
        "break_even": {
            kind: break_even(made[kind], made[EAGER]).to_json()
            for kind in made
            if kind != EAGER and EAGER in made
        },
    }
