"""The pytest plugin: options, markers, the cells of a matrix as tests, and perfkit's JSON block.

Loaded where asked for (``-p perfkit.pytest_plugin``, or ``pytest_plugins`` in a conftest.py): an
installed perfkit changes nothing in other projects' sessions.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from perfkit.cases import Case
    from perfkit.results.record import Result
    from perfkit.sitting import Sitting

pytest_plugins = ("perfkit.gate_plugin",)
_CELL = "generation_case"
_DEFAULT_MATRICES = ("smoke", "baseline-gpu", "trt")
_MARKERS = (
    "cpu: runs on any machine, without a GPU",
    "gpu(n=1, min_mem_gib=0, min_cc=None): needs n GPUs of that memory (GiB) and capability",
    "trt: needs TensorRT-LLM",
)
_NOTHING = "Not saving anything, no benchmarks have been run!"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add perfkit's options."""
    group = parser.getgroup("perfkit", "LLM inference performance")
    add = group.addoption
    add(
        "--perfkit-matrix",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="matrix to measure (repeatable); default: smoke; on a GPU baseline-gpu and trt",
    )
    add(
        "--perfkit-device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="what this session measures; auto: the GPU where there is one",
    )
    add(
        "--perfkit-model", metavar="PATH", help="local Hugging Face folder, instead of the matrix's"
    )
    add("--perfkit-prompts", metavar="FILE", help="prompts, separated by lines of %%%%")
    add("--perfkit-rounds", type=int, default=5, help="timed rounds a cell (default 5)")
    add("--perfkit-max-warmup", type=int, default=3, help="warm-up cap in rounds (default 3)")
    add(
        "--perfkit-cell-timeout",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="time limit of a cell, seen between rounds (default 600)",
    )
    add("--perfkit-seed", type=int, default=0, help="seed of weights and prompts (default 0)")
    add("--perfkit-no-ceilings", action="store_true", help="skip ceilings; mfu and mbu are null")
    add(
        "--perfkit-canaries",
        action="store_true",
        help="time fixed work before and after the cells, for perfkit gate",
    )
    add(
        "--perfkit-profile",
        metavar="DIR",
        help="after its timed rounds, run each cell once more under a profiler; traces go here",
    )
    add(
        "--perfkit-profiler",
        choices=("torch", "nsys", "ncu"),
        default="torch",
        help="torch's own, or the one that this session was started under (default torch)",
    )
    add("--perfkit-journal", metavar="FILE", help="append each finished cell to this file")
    add("--perfkit-resume", action="store_true", help="skip the cells that the journal holds")
    add("--require-gpu", action="store_true", help="fail where a GPU is missing")  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register markers; keep samples always; store under baselines/<machine key>/."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError("perfkit needs pytest-benchmark: leave out -p no:benchmark")
    option = config.option
    option.benchmark_save_data = True
    if isinstance(option.benchmark_json, Path):
        # pytest-benchmark would find out at the end, and all figures would be lost.
        from perfkit.results.store import check_writable

        try:
            check_writable(option.benchmark_json.parent)
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
    storing = option.benchmark_save or option.benchmark_autosave or option.benchmark_compare
    if storing and option.benchmark_storage == "file://./.benchmarks":
        from perfkit.machine.identity import identify

        key = identify(session_device(config)).key
        option.benchmark_storage = f"file://{config.rootpath / 'baselines' / key}"
    if option.benchmark_compare and option.benchmark_storage.startswith("file://"):
        from perfkit.results.store import check_benchmarks

        try:
            check_benchmarks(Path(option.benchmark_storage.removeprefix("file://")))
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None


def session_device(config: pytest.Config) -> str:
    """Return "cpu" or "cuda": a session measures one device."""
    asked = config.getoption("perfkit_device")
    if asked != "auto":
        return "cuda" if asked == "gpu" else "cpu"
    marks = config.getoption("markexpr") or ""
    if "cpu" in marks and "gpu" not in marks:
        return "cpu"
    from perfkit.machine.identity import gpus

    return "cuda" if gpus() else "cpu"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of every cell of the matrices, its id the case's."""
    if _CELL not in metafunc.fixturenames:
        return
    try:
        params = _cells(metafunc.config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None
    metafunc.parametrize(_CELL, params)


def _cells(config: pytest.Config) -> list[Any]:
    from perfkit.plan import load_plan

    names = config.getoption("perfkit_matrix") or _DEFAULT_MATRICES
    plan = load_plan(names, config.getoption("perfkit_model"))
    return [pytest.param(cell.case, id=cell.case.id, marks=_marks(cell)) for cell in plan]


def _marks(cell: Any) -> list[pytest.MarkDecorator]:
    if cell.device == "cpu":
        return [pytest.mark.cpu]
    on_gpu = pytest.mark.gpu(n=cell.case.tp, min_mem_gib=cell.min_mem_gib)
    return [on_gpu, pytest.mark.trt] if cell.case.backend.startswith("trtllm-") else [on_gpu]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give cells the device clock; leave out those that a resumed journal holds."""
    if not any(_case_of(item) for item in items):
        return
    from perfkit.sitting import SITTING, Sitting

    sitting = Sitting(config, session_device(config))
    config.stash[SITTING] = sitting
    for item in items:
        case = _case_of(item)
        if case is not None:
            group = f"{case.model}/b{case.batch}/p{case.prompt_len}/n{case.new_tokens}"
            item.add_marker(pytest.mark.benchmark(timer=sitting.clock, group=group))
    if config.getoption("perfkit_resume"):
        done = [item for item in items if (case := _case_of(item)) and case.id in sitting.resumed]
        config.hook.pytest_deselected(items=done)
        items[:] = [item for item in items if item not in set(done)]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell the sitting its plan: the cells that will be asked for."""
    from perfkit.sitting import SITTING

    sitting = session.config.stash.get(SITTING, None)
    if sitting is not None:
        cases = ((item, _case_of(item)) for item in session.items)
        sitting.plan = tuple(case for item, case in cases if case and not _elsewhere(item, sitting))
        sitting.asked = [case.id for item in session.items if (case := _case_of(item))]


def _case_of(item: pytest.Item) -> Case | None:
    spec = getattr(item, "callspec", None)
    case: Case | None = spec.params.get(_CELL) if spec else None
    return case


def _elsewhere(item: pytest.Item, sitting: Sitting) -> bool:
    on_gpu = item.get_closest_marker("gpu") is not None
    return on_gpu != (sitting.device == "cuda")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Resolve gpu and trt markers: skip, or with --require-gpu fail, saying need and have."""
    from perfkit.sitting import SITTING

    reason = _missing(item)
    case = _case_of(item)
    sitting = item.config.stash.get(SITTING, None)
    if reason is None and case is not None and sitting is not None and _elsewhere(item, sitting):
        reason = f"this session measures the {sitting.device}: choose with -m or --perfkit-device"
    if reason is None:
        return
    if case is not None and sitting is not None:
        from perfkit.results.record import Result

        sitting.record(Result(case, "unsupported", reason), None)
    if item.config.getoption("require_gpu") and item.get_closest_marker("gpu"):
        pytest.fail(f"--require-gpu: {reason}", pytrace=False)
    pytest.skip(reason)


def _missing(item: pytest.Item) -> str | None:
    if item.get_closest_marker("trt"):
        from perfkit.backends.tensorrt_llm.versions import ABSENT, installed

        try:
            if installed() is None:
                return ABSENT
        except UsageError as error:
            return str(error)
    marker = item.get_closest_marker("gpu")
    if marker is None:
        return None
    from perfkit.machine.identity import gpu_absence, gpus
    from perfkit.machine.requirements import missing_gpus

    found = gpus()
    return missing_gpus(found, gpu_absence() if not found else "", **marker.kwargs)


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[Case], Result]:
    """Return a function that measures a case and records its verdict.

    Skips the test where the machine cannot run the case, fails it where something is broken.
    """
    from perfkit.sitting import SITTING

    sitting: Sitting = request.config.stash[SITTING]

    def run(case: Case) -> Result:
        result = sitting.measure(case, lambda: request.getfixturevalue("benchmark"))
        _announce(request.config, sitting, result)
        if result.verdict in {"unsupported", "oom"}:
            pytest.skip(f"{result.verdict}: {result.reason}")
        return result

    return run


def _announce(config: pytest.Config, sitting: Sitting, result: Result) -> None:
    """Print one line for a finished cell, outside every timed region."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None:
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        reporter.ensure_newline()
        reporter.write_line(sitting.line(result))
    sitting.announced.add(result.case.id)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(
    report: pytest.TestReport, config: pytest.Config
) -> tuple[str, str, str] | None:
    """Print no letter for a cell that has had its line."""
    from perfkit.sitting import SITTING

    sitting = config.stash.get(SITTING, None)
    if sitting is None or report.failed or report.when != "call" or config.get_verbosity() > 0:
        return None
    name = report.nodeid.partition("[")[2].removesuffix("]")
    return (report.outcome, "", "") if name in sitting.announced else None


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Put perfkit's block, and what a resumed journal holds, into pytest-benchmark's JSON."""
    from perfkit.sitting import SITTING

    sitting = config.stash.get(SITTING, None)
    if sitting is not None:
        sitting.complete(output_json)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Let pytest-benchmark write; write ourselves what it would not; close the lab."""
    with warnings.catch_warnings():
        # Then the file is ours to write.
        warnings.filterwarnings("ignore", message=_NOTHING)
        result = yield
    from perfkit.sitting import SITTING

    sitting = session.config.stash.get(SITTING, None)
    if sitting is not None:
        sitting.close()
        path = sitting.json_path()
        if path and sitting.cells and not sitting.written:
            from perfkit.results.store import write_whole

            write_whole(path, json.dumps(sitting.document(), indent=1))
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what became of the cells, also after an interrupt."""
    from perfkit.sitting import SITTING

    sitting = terminalreporter.config.stash.get(SITTING, None)
    if sitting is not None and sitting.cells:
        terminalreporter.section("perfkit")
        for line in sitting.summary():
            terminalreporter.write_line(line)
