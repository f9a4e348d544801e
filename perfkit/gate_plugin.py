"""``pytest --perfkit-gate``: the session's own cells screen, fresh processes confirm.

Loaded by ``perfkit.pytest_plugin``. The exit code is the gate's where the tests themselves passed
or failed; wrong use ends with 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit.errors import UsageError
from perfkit.results.gate import NOT_JUDGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.gating.command import SessionGate
    from perfkit.results.outcome import Asked, Outcome

GATE: pytest.StashKey[SessionGate] = pytest.StashKey()
OUTCOME: pytest.StashKey[tuple[Outcome, Asked]] = pytest.StashKey()
_WRONG_USE = 2
_ENDED = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the gate's options."""
    group = parser.getgroup("perfkit")
    group.addoption(
        "--perfkit-gate",
        action="store_true",
        help="judge this session's cells against the accepted baseline (perfkit gate)",
    )
    group.addoption(
        "--perfkit-baselines",
        metavar="FOLDER",
        default="baselines",
        help="where the gate's baselines lie (default baselines)",
    )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Measure as the baseline was measured; without a baseline stop before anything is."""
    option = config.option
    if not option.perfkit_gate or option.collectonly:
        return
    if hasattr(config, "workerinput") or getattr(option, "numprocesses", None):
        pytest.exit("perfkit: --perfkit-gate measures alone: leave out -n", returncode=_WRONG_USE)
    from perfkit.gating.command import session_gate
    from perfkit.pytest_plugin import session_device

    try:
        by = session_gate(
            "gpu" if session_device(config) == "cuda" else "cpu",
            tuple(option.perfkit_matrix),
            Path(option.perfkit_model) if option.perfkit_model else None,
            option.perfkit_seed,
            Path(option.perfkit_baselines),
        )
    except UsageError as error:
        pytest.exit(f"perfkit: {error}", returncode=_WRONG_USE)
    what = by.what
    option.perfkit_matrix = list(what.matrices)
    option.perfkit_rounds, option.perfkit_max_warmup = what.rounds, what.max_warmup
    option.perfkit_canaries = option.perfkit_no_ceilings = True
    config.stash[GATE] = by


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Confirm what looks changed, before the summary is printed and the files are written."""
    if GATE in session.config.stash and session.exitstatus in _ENDED:
        try:
            _judge(session)
        except KeyboardInterrupt:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        except Exception as error:  # what was measured is still to be written
            reporter = session.config.pluginmanager.getplugin("terminalreporter")
            reporter.write_line(f"perfkit: the gate itself failed: {error!r}")
            session.exitstatus = NOT_JUDGED
    return (yield)


def _judge(session: pytest.Session) -> None:
    from perfkit.gating.command import gate_session
    from perfkit.sitting import SITTING

    sitting = session.config.stash.get(SITTING, None)
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if sitting is None or not sitting.cells:
        reporter.write_line("perfkit: no cell was measured, so there is nothing to judge")
        session.exitstatus = NOT_JUDGED
        return
    document = {"perfkit": sitting.block()}
    sitting.close()
    found = gate_session(session.config.stash[GATE], document, reporter.write_line)
    session.config.stash[OUTCOME] = found
    # The gate's own precedence: INVALID before failed or REGRESSED, those before INCONCLUSIVE.
    code = found[0].exit_code
    failed = session.exitstatus == pytest.ExitCode.TESTS_FAILED
    if code == NOT_JUDGED or not failed:
        session.exitstatus = code


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the verdicts."""
    found = terminalreporter.config.stash.get(OUTCOME, None)
    if found is None:
        return
    from rich.console import Console

    from perfkit.reporting import gate as report

    terminalreporter.section("perfkit gate")
    console = Console(width=160)
    with console.capture() as capture:
        console.print(report.table(found[0].judgements))
    terminalreporter.write_line(capture.get())
    terminalreporter.write_line(report.headline(*found))
