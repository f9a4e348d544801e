"""Faults, each with real processes: what a sweep keeps, and what its user is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from perfkit.errors import UsageError
from perfkit.sweep.driver import forecast_errors
from perfkit.sweep.planning import plan_lines
from perfkit.sweep.transport import Host
from tests.sweep.fake_worker import HOST, cells, sweep

ROOT = Path(__file__).resolve().parents[2]
CELLS = 8


def verdicts(folder: Path) -> dict[str, str]:
    return {case_id: cell["verdict"] for case_id, cell in cells(folder).items()}


def reason(folder: Path, verdict: str) -> str:
    found = (cell["reason"] for cell in cells(folder).values() if cell["verdict"] == verdict)
    return str(next(found))


def stop_after_three_cells(folder: Path, how: signal.Signals) -> int:
    """Send a sweep of slow cells a signal once three are finished; return its exit code."""
    code = (
        "import signal, sys; from pathlib import Path; from tests.sweep.fake_worker import sweep\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.exit(sweep(Path(sys.argv[1]), {'llama-tiny': 'slow'}, []).run())\n"
    )
    journal = folder / "out" / "matrix_results.journal.jsonl"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT) as process:
        while not journal.is_file() or journal.read_bytes().count(b"\n") < 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(how)
    return process.returncode


def test_every_cell_is_measured_said_and_written(tmp_path: Path) -> None:
    said: list[str] = []
    assert sweep(tmp_path, {}, said).run() == 0
    assert Counter(verdicts(tmp_path).values()) == {"ok": CELLS}
    assert said[-2].startswith(f"[{CELLS}/{CELLS}] torch-eager/llama-tiny/")
    assert said[-1] == f"{CELLS} ok"
    assert (tmp_path / "out" / "matrix_results.json").is_file()
    assert (tmp_path / "out" / "matrix_results.csv").is_file()


@pytest.mark.parametrize(
    ("deed", "verdict", "words"),
    [
        ("kill", "crash", "signal SIGKILL"),
        ("leave", "crash", "exit code 0"),
        ("tear", "crash", "signal SIGKILL"),
        ("hang", "timeout", "no cell finished for"),
    ],
)
def test_a_worker_that_dies_costs_one_cell_and_the_rest_go_on(
    tmp_path: Path, deed: str, verdict: str, words: str
) -> None:
    victim = "bf16/fmha/b2"
    made = sweep(tmp_path, {victim: deed}, [], first_s=3.0)
    assert made.run() == 1
    found = verdicts(tmp_path)
    assert Counter(found.values()) == {"ok": CELLS - 1, verdict: 1}
    assert next(v for case_id, v in found.items() if victim in case_id) == verdict
    assert words in reason(tmp_path, verdict)


def test_a_hang_ends_with_all_that_the_worker_started(tmp_path: Path) -> None:
    sweep(tmp_path, {"bf16/fmha/b2": "hang"}, [], first_s=3.0).run()
    child = int((tmp_path / "child.pid").read_text(encoding="utf-8"))
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_a_chosen_verdict_is_measured_again(tmp_path: Path) -> None:
    sweep(tmp_path, {"bf16/fmha/b2": "kill"}, []).run()
    said: list[str] = []
    assert sweep(tmp_path, {}, said, resume=True, again=frozenset({"crash"})).run() == 0
    assert Counter(verdicts(tmp_path).values()) == {"ok": CELLS}
    assert len(said) == 3  # that one cell is measured again, its result, and all verdicts
    document = json.loads((tmp_path / "out" / "matrix_results.json").read_text(encoding="utf-8"))
    cells = document["perfkit"]["cells"].items()
    assert {case_id: 2 if "bf16/fmha/b2" in case_id else 1 for case_id, _ in cells} == {
        case_id: cell["attempt"] for case_id, cell in cells
    }
    earlier = (tmp_path / "out" / "matrix_results.earlier.jsonl").read_text(encoding="utf-8")
    assert json.loads(earlier)["cell"]["verdict"] == "crash"


def test_a_worker_that_refuses_to_begin_stops_the_sweep(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such option"):
        sweep(tmp_path, {"llama-tiny": "refuse"}, []).run()


def test_a_killed_sweep_goes_on_with_none_lost_and_none_twice(tmp_path: Path) -> None:
    assert stop_after_three_cells(tmp_path, signal.SIGKILL) == -signal.SIGKILL
    with pytest.raises(UsageError, match="go on with --resume"):
        sweep(tmp_path, {}, []).run()
    assert sweep(tmp_path, {}, [], resume=True).run() == 0
    assert Counter(verdicts(tmp_path).values()) == {"ok": CELLS}


def test_an_interrupted_sweep_writes_what_it_has_and_goes_on(tmp_path: Path) -> None:
    assert stop_after_three_cells(tmp_path, signal.SIGINT) == 130
    document = json.loads((tmp_path / "out" / "matrix_results.json").read_text(encoding="utf-8"))
    finished = verdicts(tmp_path)
    assert set(document["perfkit"]["cells"]) == set(finished)
    assert 3 <= len(finished) < CELLS
    assert sweep(tmp_path, {}, [], resume=True).run() == 0
    assert Counter(verdicts(tmp_path).values()) == {"ok": CELLS}


def test_a_torn_journal_is_mended_and_said(tmp_path: Path) -> None:
    sweep(tmp_path, {}, []).run()
    journal = tmp_path / "out" / "matrix_results.journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    said: list[str] = []
    assert sweep(tmp_path, {}, said, resume=True).run() == 0
    assert "was torn" in said[0]
    assert Counter(verdicts(tmp_path).values()) == {"ok": CELLS}


def test_a_second_sweep_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    first, second = (sweep(tmp_path, {}, [], resume=resume) for resume in (False, True))
    refused: list[str] = []

    def meanwhile(text: str) -> None:
        if not refused:
            with pytest.raises(UsageError, match=f"in use by a sweep .process {os.getpid()}"):
                second.run()
            refused.append(text)

    first.say = meanwhile
    assert first.run() == 0
    assert refused


def test_a_full_disk_stops_the_sweep_with_its_reason_and_it_goes_on_later(tmp_path: Path) -> None:
    # A limit on files' sizes stands in for the disk: its errors come from the same calls.
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.sweep.fake_worker import sweep; from perfkit.errors import UsageError\n"
        "made = sweep(Path(sys.argv[1]), {}, [])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))\n"
        "try: made.run()\n"
        "except UsageError as error: print(error); sys.exit(2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "make room, then go on with --resume" in done.stdout
    assert sweep(tmp_path, {}, [], resume=True).run() == 0
    assert Counter(verdicts(tmp_path).values()) == {"ok": CELLS}


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "is missing: put it back"), ("{", "is not JSON"), ("[]", "is no sweep's definition")],
)
def test_a_damaged_definition_is_named(tmp_path: Path, content: str | None, words: str) -> None:
    sweep(tmp_path, {}, []).run()
    definition = tmp_path / "out" / "sweep.json"
    definition.unlink()
    if content is not None:
        definition.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        sweep(tmp_path, {}, [], resume=True).run()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"seed": 4}, "seed was 3, now 4"), ({"host": Host("another", None)}, "machine was")],
)
def test_another_sweep_is_not_continued(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    sweep(tmp_path, {}, []).run()
    with pytest.raises(UsageError, match=words):
        sweep(tmp_path, {}, [], resume=True, **changes).run()


def test_a_resumed_sweep_may_ask_for_more_cells_and_not_for_fewer(tmp_path: Path) -> None:
    half = sweep(tmp_path, {}, [], cases=("bf16",))
    assert half.run() == 0
    assert len(verdicts(tmp_path)) == CELLS // 2
    assert sweep(tmp_path, {}, [], resume=True).run() == 0
    assert Counter(verdicts(tmp_path).values()) == {"ok": CELLS}
    with pytest.raises(UsageError, match="4 cells fewer, 0 more"):
        sweep(tmp_path, {}, [], resume=True, cases=("bf16/*/b*",)).run()
    with pytest.raises(UsageError, match=r"none of the 8 cells of .* matches b99"):
        sweep(tmp_path, {}, [], resume=True, cases=("b99",)).run()


def test_a_plan_tells_times_and_what_is_finished_or_refused(tmp_path: Path) -> None:
    made = sweep(tmp_path, {}, [], cases=("bf16",))
    made.run()
    journal = (tmp_path / "out" / "matrix_results.journal.jsonl").read_bytes()
    whole = sweep(tmp_path, {}, [], host=Host(HOST.machine_key, 10**6), resume=True)
    lines = list(plan_lines(whole.request, whole.transport))
    assert lines[0] == "8 cells in 2 groups on a-machine, seed 3"
    assert lines[2].startswith("0 cells to measure")
    assert sum(line.endswith(" ok: finished") for line in lines) == 4
    assert sum(" oom: not run: forecast " in line for line in lines) == 4
    assert (tmp_path / "out" / "matrix_results.journal.jsonl").read_bytes() == journal
    fresh = sweep(tmp_path / "fresh", {}, [])
    plan = list(plan_lines(fresh.request, fresh.transport))
    assert next(line for line in plan if "group 1" in line).endswith("4 cells, about 17 s")
    assert not (tmp_path / "fresh" / "out").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "holds a sweep already"),
        ({"resume": True, "seed": 4}, "seed was 3, now 4"),
        ({"resume": True, "cases": ("b1",)}, "4 cells fewer"),
        ({"resume": True, "again": frozenset({"omm"})}, "unknown verdict 'omm'"),
    ],
)
def test_a_plan_is_refused_as_its_sweep_would_be(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    sweep(tmp_path, {}, []).run()
    made = sweep(tmp_path, {}, [], **changes)
    with pytest.raises(UsageError, match=words):
        list(plan_lines(made.request, made.transport))


def test_a_worker_whose_journal_has_no_room_blames_no_cell(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No space left on device; finished cells are kept in"):
        sweep(tmp_path, {"bf16/fmha/b2": "full"}, []).run()
    assert set(verdicts(tmp_path).values()) == {"ok"}
    assert sweep(tmp_path, {}, [], resume=True).run() == 0
    assert Counter(verdicts(tmp_path).values()) == {"ok": CELLS}


def test_what_is_no_journal_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    sweep(tmp_path, {}, []).run()
    journal = tmp_path / "out" / "matrix_results.journal.jsonl"
    journal.write_bytes(b"\xff\n\xfe")
    with pytest.raises(UsageError, match="jsonl:1 is no journal line"):
        sweep(tmp_path, {}, [], resume=True).run()
    assert journal.read_bytes() == b"\xff\n\xfe"


def test_the_forecasts_error_is_that_of_the_cells_that_ran() -> None:
    ran = {"metrics": {"peak_allocated_bytes": 100}, "memory": {"forecast": {"total_bytes": 104}}}
    unrun = {"verdict": "oom", "memory": {"forecast": {"total_bytes": 900}}}
    document = {"perfkit": {"cells": {"a": ran, "b": unrun, "c": {"verdict": "crash"}}}}
    assert forecast_errors(document) == pytest.approx([0.04])


def test_what_the_forecast_refuses_is_not_run(tmp_path: Path) -> None:
    small = Host(HOST.machine_key, memory_bytes=1)
    assert sweep(tmp_path, {"llama-tiny": "kill"}, [], host=small).run() == 0
    assert Counter(verdicts(tmp_path).values()) == {"oom": CELLS}
    assert "--no-forecast runs it" in reason(tmp_path, "oom")
    other = tmp_path / "other"
    assert sweep(other, {}, [], host=small, forecast=False).run() == 0
    assert Counter(verdicts(other).values()) == {"ok": CELLS}
