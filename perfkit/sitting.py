"""One pytest session's measuring: its lab, its cells so far, and the file they end in."""

from __future__ import annotations

import os
import re
import sys
import uuid
import warnings
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UsageError, first_line
from perfkit.machine.identity import gpus, identify
from perfkit.measurement.clock import DeviceClock
from perfkit.paths import shipped
from perfkit.results.record import SCHEMA, WITHOUT_FIGURES, Result
from perfkit.results.store import Document, Journal, check_writable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.cases import Case
    from perfkit.measurement.cell import Rounds
    from perfkit.measurement.lab import Lab

SITTING = pytest.StashKey["Sitting"]()
_SHOWN = 24  # arguments of a command that its file keeps
_ELSEWHERE = re.compile(r"^(--(?:benchmark-json|perfkit-journal|perfkit-profile)=)/.*/")


class Sitting:
    """Opens the lab at the first cell and keeps every verdict until the file is written."""

    def __init__(self, config: pytest.Config, device: str) -> None:
        """Read the journal, if one is to be resumed. Raises pytest.UsageError if it is foreign."""
        self._config = config
        self.device = device
        self.clock = DeviceClock()
        self.machine = identify(device)
        self.plan: tuple[Case, ...] = ()
        self.asked: list[str] = []
        self.announced: set[str] = set()
        self.cells: dict[str, Document] = {}
        self.written = False
        self._lab: Lab | None = None
        self._canaries: list[dict[str, list[float]]] = []
        self._warnings: list[str] = []
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._id = uuid.uuid4().hex[:12]
        journal = config.getoption("perfkit_journal")
        self._journal = Journal(Path(journal)) if journal else None
        self.resumed: dict[str, tuple[Document, Document | None]] = {}
        if self._journal is not None and config.getoption("perfkit_resume"):
            try:
                self.resumed = self._journal.read(self.machine.key)
            except UsageError as error:
                raise pytest.UsageError(str(error)) from None
            self.cells = {case_id: cell for case_id, (cell, _) in self.resumed.items()}

    def measure(self, case: Case, benchmark: Callable[[], Any]) -> Result:
        """Measure one case; ``benchmark`` gives pytest-benchmark's fixture when it is needed."""
        from perfkit.measurement.cell import measure

        used: list[Any] = []

        def rounds() -> Rounds:
            used.append(benchmark())
            runner: Rounds = used[0].pedantic
            return runner

        try:
            result = measure(case, self._open(), rounds)
        except BaseException:
            # An interrupted cell has some rounds, and must not pass for a whole one.
            for fixture in used:
                fixture.has_error = True
            raise
        self._read_profile(result)
        fixture = used[0] if used else None
        if fixture is not None and result.verdict in WITHOUT_FIGURES:
            fixture.has_error = True
        self.record(result, fixture)
        return result

    def _read_profile(self, result: Result) -> None:
        """Put the class shares of a profile that was taken into the cell's row."""
        told = result.details.get("profile")
        if told is not None and "file" in told:
            from perfkit.profiling.summary import summarised

            folder = Path(self._config.getoption("perfkit_profile"))
            result.details["profile"] = summarised(told, folder / told["file"])

    def record(self, result: Result, fixture: Any) -> None:
        """Keep a verdict, in the journal too."""
        # One sweep may be gone on with on another GPU of the same machine key.
        cell = result.to_json() | {
            "session": self._id,
            "gpu_uuid": next(iter(self._gpu_uuids()), None),
        }
        self.cells[result.case.id] = cell
        entry = None
        if fixture is not None and not fixture.has_error and fixture.stats is not None:
            fixture.extra_info.update(_extra_info(cell))
            entry = fixture.stats.as_dict(include_data=True)
        if self._journal is not None:
            try:
                self._journal.append(self.machine.key, result.case.id, cell, entry)
            except OSError as error:
                # What cannot be kept need not be measured.
                pytest.exit(f"the journal cannot be written: {error}", returncode=os.EX_IOERR)

    def line(self, result: Result) -> str:
        """Return one line about a finished cell."""
        metrics = result.details.get("metrics", {})
        place = f"[{len(self.cells):>{len(str(len(self.asked)))}}/{self._total()}]"
        if not metrics:
            return f"{place} {result.case.id} {result.verdict}: {result.reason}"
        text = (
            f"{place} {result.case.id} {result.verdict} "
            f"ttft {metrics['ttft_s'] * 1e3:.1f} ms, {metrics['output_tokens_per_s']:.1f} tok/s"
        )
        return text if result.reason is None else f"{text} ({result.reason})"

    def complete(self, output: Document) -> None:
        """Add perfkit's block and resumed entries to pytest-benchmark's JSON."""
        self.written = True
        output["perfkit"] = self.block()
        present = {entry["fullname"] for entry in output["benchmarks"]}
        for _, entry in self.resumed.values():
            if entry is not None and entry["fullname"] not in present:
                output["benchmarks"].append(entry)

    def document(self) -> Document:
        """Return the whole file, for when pytest-benchmark writes none."""
        from pytest_benchmark import __version__

        hook = self._config.hook
        machine_info = hook.pytest_benchmark_generate_machine_info(config=self._config)
        commit_info = hook.pytest_benchmark_generate_commit_info(config=self._config)
        output: Document = {
            "machine_info": machine_info,
            "commit_info": commit_info,
            "benchmarks": [],
            "datetime": datetime.now(UTC).isoformat(),
            "version": __version__,
        }
        self.complete(output)
        return output

    def summary(self) -> list[str]:
        """Return what became of the cells: verdicts, and those left out."""
        counts = Counter(cell["verdict"] for cell in self.cells.values())
        lines = [", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))]
        left = [case_id for case_id in self.asked if case_id not in self.cells]
        if left:
            kept = " and kept" if self.json_path() else ""
            lines.append(
                f"interrupted: {len(self.cells)} of {self._total()} cells finished{kept}; "
                f"not measured: {', '.join(left)}"
            )
        profiles = {case: cell.get("profile") or {} for case, cell in self.cells.items()}
        absent = {case: one["absent"] for case, one in profiles.items() if "absent" in one}
        return [*lines, *(f"no profile of {case}: {why}" for case, why in absent.items())]

    def json_path(self) -> Path | None:
        """Return where pytest-benchmark was told to write; before 5.3 that is an open file."""
        asked = self._config.getoption("benchmark_json")
        return Path(asked if isinstance(asked, Path) else asked.name) if asked else None

    def close(self) -> None:
        """Close the lab, if one was opened."""
        if self._lab is not None:
            from perfkit.measurement.lab import close_lab

            close_lab(self._lab)

    def _total(self) -> int:
        return len(set(self.asked) | set(self.cells))

    def _open(self) -> Lab:
        if self._lab is None:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                self._lab = self._make_lab()
                self._watch()
            self._warnings += sorted({str(warning.message) for warning in caught})
        return self._lab

    def _watch(self) -> None:
        """Time the canaries, if they are asked for: once before the cells, once after."""
        if self._config.getoption("perfkit_canaries") and len(self._canaries) < 2:
            from perfkit.machine.canaries import measure

            assert self._lab is not None  # noqa: S101  (its callers opened it)
            self._lab.slot.empty()
            try:
                self._canaries.append(measure(self.device))
            except Exception as error:  # a reading that fails must not lose the cells
                self._canaries.append({})
                self._warnings.append(f"no canary reading: {first_line(error)}")

    def _gpu_uuids(self) -> tuple[str, ...]:
        """Return the GPUs that this session's cells use, as many as the largest of them needs."""
        found = gpus() if self.device == "cuda" else ()
        needed = max((case.tp for case in self.plan), default=1)
        return tuple(gpu.uuid for gpu in found[:needed])

    def _make_lab(self) -> Lab:
        from perfkit.measurement.lab import Profiling, Settings, open_lab

        option = self._config.getoption
        model = option("perfkit_model")
        local = None
        if model:
            from perfkit.inputs.models import local as read_local

            local = read_local(Path(model))
        prompts, traces = option("perfkit_prompts"), option("perfkit_profile")
        try:
            if traces:
                check_writable(Path(traces))
            return open_lab(
                device=self.device,
                gpu_uuids=self._gpu_uuids(),
                prompts_file=Path(prompts) if prompts else shipped("data/prompts.txt"),
                local=local,
                plan=self.plan,
                seed=option("perfkit_seed"),
                settings=Settings(
                    rounds=option("perfkit_rounds"),
                    max_warmup=option("perfkit_max_warmup"),
                    cell_timeout_s=option("perfkit_cell_timeout"),
                ),
                clock=self.clock,
                measure_ceilings=not option("perfkit_no_ceilings"),
                profiling=Profiling(option("perfkit_profiler"), Path(traces)) if traces else None,
            )
        except UsageError as error:
            pytest.exit(str(error), returncode=2)

    def block(self) -> Document:
        """Return perfkit's part of the file; times the canaries again where they are asked for."""
        if self._lab is not None:
            self._watch()
        ceilings = self._lab.ceilings.to_json() if self._lab and self._lab.ceilings else None
        return {
            "schema": SCHEMA,
            "session": {
                "id": self._id,
                "started": self._started,
                "command": _command(self._config.invocation_params.args, self._config.rootpath),
                "python": sys.version.split()[0],
                "seed": self._config.getoption("perfkit_seed"),
                "device": self.device,
                "matrices": self._config.getoption("perfkit_matrix"),
                "rounds": self._config.getoption("perfkit_rounds"),
                "max_warmup": self._config.getoption("perfkit_max_warmup"),
                "warnings": self._warnings,
                "not_measured": [case for case in self.asked if case not in self.cells],
            },
            "machine": {
                "key": self.machine.key,
                "name": self.machine.name,
                "fields": self.machine.fields,
            },
            "ceilings": ceilings,
            "canaries": self._canaries,
            "cells": self.cells,
        }


def _command(arguments: Sequence[object], root: Path) -> str:
    """Return the command that was typed, paths from the root; of hundreds of ids only the first.

    Where an output elsewhere lies is of no use to whoever types it again, so only its name is kept.
    """
    shown = [str(one).replace(f"{root}/", "").replace(str(root), ".") for one in arguments[:_SHOWN]]
    shown = [_ELSEWHERE.sub(r"\1OUT/", one) for one in shown]
    left = len(arguments) - len(shown)
    return " ".join(["pytest", *shown, *([f"(and {left} more)"] if left else [])])


def _extra_info(cell: Document) -> Document:
    """Return what pytest-benchmark shows beside an entry: verdict and headline figures."""
    metrics = cell.get("metrics", {})
    names = ("ttft_s", "tpot_s", "output_tokens_per_s", "mfu", "mbu")
    return {
        "verdict": cell["verdict"],
        "agreement": cell.get("agreement", {}).get("status"),
        **{name: metrics.get(name) for name in names},
    }
