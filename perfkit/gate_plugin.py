"""``pytest --perfkit-gate``: the session's own cells screen, fresh processes confirm.

Loaded by ``perfkit.pytest_plugin``. The exit code is the gate's where the tests themselves passed
or failed; wrong use ends with 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.gating.command import GateRequest
    from perfkit.results.outcome import Asked, Outcome

REQUEST: pytest.StashKey[GateRequest] = pytest.StashKey()
OUTCOME: pytest.StashKey[tuple[Outcome, Asked]] = pytest.StashKey()


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
    if not config.getoption("perfkit_gate"):
        return
    from perfkit.gating.command import session_request
    from perfkit.pytest_plugin import session_device

    option = config.option
    try:
        request = session_request(
            "gpu" if session_device(config) == "cuda" else "cpu",
            tuple(option.perfkit_matrix),
            Path(option.perfkit_model) if option.perfkit_model else None,
            option.perfkit_seed,
            Path(option.perfkit_baselines),
        )
    except UsageError as error:
        pytest.exit(f"perfkit: {error}", returncode=2)
    what = request.what
    option.perfkit_matrix = list(what.matrices)
    option.perfkit_rounds, option.perfkit_max_warmup = what.rounds, what.max_warmup
    option.perfkit_canaries = option.perfkit_no_ceilings = True
    config.stash[REQUEST] = request


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Confirm what looks changed, before the summary is printed."""
    from perfkit.sitting import SITTING

    sitting = session.config.stash.get(SITTING, None)
    request = session.config.stash.get(REQUEST, None)
    if request is not None and sitting is not None and session.exitstatus in {0, 1}:
        from perfkit.gating.command import gate_session

        document = {"perfkit": sitting.block()}
        sitting.close()
        reporter = session.config.pluginmanager.getplugin("terminalreporter")
        found = gate_session(request, document, reporter.write_line)
        session.config.stash[OUTCOME] = found
        session.exitstatus = found[0].exit_code or session.exitstatus
    return (yield)


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
