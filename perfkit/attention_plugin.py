"""The pytest plugin of the attention benchmark: problem sets as tests, one entry a cell.

Loaded beside ``perfkit.pytest_plugin``. A benchmark takes the arguments ``attention_cell`` and
``attention_measured``; benchmarks/test_attention.py is the whole of ours.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.machine.ceilings import Ceilings
    from perfkit.measurement.attention import AttentionCell, Outcome
    from perfkit.measurement.bench import Bench

_CELL = "attention_cell"
_SETS = ("tiny", "judged")


class ReplayClock:
    """A timer for pytest-benchmark that replays durations measured before.

    The providers of a problem take turns, while pytest runs one test after another: so the whole
    problem is measured at its first cell, and each cell's rounds are told to pytest-benchmark when
    its turn comes. ``pedantic`` reads its timer twice a round.
    """

    def __init__(self) -> None:
        """Start at zero with nothing to replay."""
        self.__name__ = "attention_clock"
        self._left: list[float] = []
        self._value = 0.0
        self._running = False

    def load(self, seconds: tuple[float, ...]) -> None:
        """Replay these rounds next."""
        self._left, self._running = list(seconds), False

    def __call__(self) -> float:
        """Return the seconds of the rounds replayed so far."""
        if self._running:
            self._value += self._left.pop(0)
        self._running = not self._running
        return self._value


class AttentionSession:
    """What one pytest session measured of attention."""

    def __init__(self, config: pytest.Config) -> None:
        """Know the journal and the clock; nothing is measured yet."""
        self.clock = ReplayClock()
        self.wanted: dict[Any, list[str]] = {}
        self.cells: dict[str, dict[str, Any]] = {}
        self._config = config
        self._id = uuid.uuid4().hex[:12]
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._bench: Bench | None = None
        self._ceilings: Ceilings | None = None
        self._problem: Any = None
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        journal = config.getoption("perfkit_journal")
        self._journal = Path(journal).with_suffix(".attention.jsonl") if journal else None

    def measure(self, cell: AttentionCell, device: str) -> Outcome:
        """Return a cell's outcome; its problem is measured with all its providers at once."""
        from perfkit.measurement.attention import measure_problem

        if self._bench is None:
            self._open(device)
        assert self._bench is not None  # noqa: S101  (opened above)
        if self._problem != cell.problem:
            seed = self._config.getoption("perfkit_seed") + len(self.cells)
            names = self.wanted[cell.problem]
            self._outcomes = measure_problem(cell.problem, names, self._bench, seed)
            self._problem = cell.problem
        outcome = self._outcomes[cell.provider, cell.cache]
        self.cells[cell.id] = self._record(cell, outcome)
        self._keep(cell.id)
        return outcome

    def _record(self, cell: AttentionCell, outcome: Outcome) -> dict[str, Any]:
        figures = outcome.to_json(cell.problem)
        ceiling, rate = self._ceiling(cell), "kv_bytes_per_s"
        if not cell.problem.is_decode:
            rate = "flop_per_s"
        share = figures[rate] / ceiling if figures[rate] and ceiling else None
        names = {"provider": cell.provider, "problem": cell.problem.id, "cache": cell.cache}
        return names | figures | {"share_of_ceiling": share, "session": self._id}

    def _ceiling(self, cell: AttentionCell) -> float | None:
        if self._ceilings is None:
            return None
        if cell.problem.is_decode:
            value = self._ceilings.read_bytes_per_s
        else:
            value = self._ceilings.gemm_flop_per_s.get(cell.problem.dtype, 0.0)
        return value if value > 0 else None

    def _open(self, device: str) -> None:
        from perfkit.measurement.bench import bench

        if device == "cuda" and not self._config.getoption("perfkit_no_ceilings"):
            from perfkit.machine.ceilings import measure

            dtypes = dict.fromkeys(problem.dtype for problem in self.wanted)
            self._ceilings = measure(device, tuple(dtypes))
        self._bench = bench(device)

    def _keep(self, cell_id: str) -> None:
        if self._journal is not None:
            self._journal.parent.mkdir(parents=True, exist_ok=True)
            with self._journal.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"id": cell_id, "cell": self.cells[cell_id]}) + "\n")
                stream.flush()
                os.fsync(stream.fileno())

    def block(self) -> dict[str, Any]:
        """Return the JSON's ``perfkit_attention`` block."""
        from perfkit.machine.identity import identify
        from perfkit.results.record import SCHEMA

        device = "cpu" if self._bench is None else self._bench.device.type
        machine = identify(device)
        return {
            "schema": SCHEMA,
            "session": {
                "id": self._id,
                "started": self._started,
                "command": " ".join(["pytest", *map(str, self._config.invocation_params.args)]),
                "python": sys.version.split()[0],
                "device": device,
                "interpreter": bool(self._bench and not self._bench.times_mean_something),
            },
            "machine": {"key": machine.key, "name": machine.name, "fields": machine.fields},
            "ceilings": self._ceilings.to_json() if self._ceilings else None,
            "cells": self.cells,
        }


SESSION = pytest.StashKey[AttentionSession]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the attention benchmark's options."""
    group = parser.getgroup("perfkit")
    group.addoption(
        "--perfkit-attention",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="attention problems (repeatable); default: tiny on a CPU, judged on a GPU",
    )
    group.addoption(
        "--perfkit-providers", metavar="A,B", help="only these attention providers, by name"
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Turn Triton's interpreter on where the CPU is measured.

    The switch counts when triton is imported for the first time, which any test may do.
    """
    from perfkit.pytest_plugin import session_device

    if session_device(config) == "cpu":
        os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every problem, provider and cache state."""
    if _CELL not in metafunc.fixturenames:
        return
    try:
        params = _params(metafunc.config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    metafunc.parametrize(_CELL, params)


def _params(config: pytest.Config) -> list[Any]:
    from perfkit.attention_plan import load
    from perfkit.measurement.attention import CACHES, AttentionCell

    providers = _providers(config.getoption("perfkit_providers"))
    params = []
    for name in config.getoption("perfkit_attention") or _SETS:
        chosen = load(name)
        mark = pytest.mark.cpu if chosen.device == "cpu" else pytest.mark.gpu
        for problem in chosen.problems:
            for provider in providers:
                for cache in CACHES:
                    cell = AttentionCell(provider, problem, cache)
                    params.append(pytest.param(cell, id=cell.id, marks=[mark]))
    return params


def _providers(asked: str | None) -> tuple[str, ...]:
    from perfkit.attention.registry import NAMES
    from perfkit.errors import unknown

    if not asked:
        # The written-out formula is what the others are held against, not a way to serve.
        return tuple(name for name in NAMES if name != "math")
    names = tuple(name.strip() for name in asked.split(","))
    for name in names:
        if name not in NAMES:
            raise UsageError(unknown("attention provider", name, NAMES))
    return names


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give cells the replaying clock, grouped by problem."""
    cells = [(item, cell) for item in items if (cell := _cell_of(item)) is not None]
    if not cells:
        return
    session = AttentionSession(config)
    config.stash[SESSION] = session
    for item, cell in cells:
        group = f"{cell.problem.id}/{cell.cache}"
        item.add_marker(pytest.mark.benchmark(timer=session.clock, group=group))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which providers each problem is asked for."""
    attention = session.config.stash.get(SESSION, None)
    if attention is None:
        return
    for item in session.items:
        cell = _cell_of(item)
        if cell is not None:
            names = attention.wanted.setdefault(cell.problem, [])
            if cell.provider not in names:
                names.append(cell.provider)


def _cell_of(item: pytest.Item) -> AttentionCell | None:
    spec = getattr(item, "callspec", None)
    cell: AttentionCell | None = spec.params.get(_CELL) if spec else None
    return cell


@pytest.fixture
def attention_measured(request: pytest.FixtureRequest) -> Callable[[AttentionCell], Outcome]:
    """Return a function that measures a cell; skips where the machine cannot run it."""
    session = request.config.stash[SESSION]
    device = "cuda" if request.node.get_closest_marker("gpu") else "cpu"

    def run(cell: AttentionCell) -> Outcome:
        with warnings.catch_warnings():
            # What a peer's compiler or library warns of is no failure of its cell.
            warnings.simplefilter("default")
            outcome = session.measure(cell, device)
        if outcome.verdict in {"unsupported", "oom"}:
            pytest.skip(f"{outcome.verdict}: {outcome.reason}")
        if outcome.samples_s:
            benchmark = request.getfixturevalue("benchmark")
            benchmark.extra_info.update(_headline(session.cells[cell.id]))
            session.clock.load(outcome.samples_s)
            benchmark.pedantic(lambda: None, rounds=len(outcome.samples_s))
        return outcome

    return run


def _headline(cell: dict[str, Any]) -> dict[str, Any]:
    """Return what pytest-benchmark shows beside an entry; the cells' block has the rest."""
    names = ("provider", "cache", "verdict", "flop_per_s", "kv_bytes_per_s", "share_of_ceiling")
    return {name: cell[name] for name in names}


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Put every cell's verdict beside the entries of those that were timed."""
    session = config.stash.get(SESSION, None)
    if session is not None and session.cells:
        output_json["perfkit_attention"] = session.block()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the figures are, or that there are none."""
    session = terminalreporter.config.stash.get(SESSION, None)
    if session is None or not session.cells:
        return
    terminalreporter.section("attention")
    if any(cell["median_s"] for cell in session.cells.values()):
        terminalreporter.write_line("perfkit attention FILE.json prints the table and draws it")
    else:
        terminalreporter.write_line(
            "outputs were held against fp32 in Triton's interpreter: correctness, no speed"
        )
