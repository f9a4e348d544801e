from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UsageError
from perfkit.gating import baseline
from perfkit.reporting.baseline_log import entry_of
from perfkit.results.gate import Rule
from perfkit.results.runs import RunSet
from tests.results.runs_made import CELL, KEY, run, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIKE = {"rounds": 2, "max_warmup": 1}
FACTORS = (1.0, 1.01, 0.99, 1.005, 0.995, 1.002, 0.998, 1.003, 0.997)


def writer(made: list[int], **how: Any) -> Callable[[Path, int], dict[str, Any]]:
    def measure(path: Path, number: int) -> dict[str, Any]:
        made.append(number)
        document = run(**how)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document), encoding="utf-8")
        return document

    return measure


def test_a_third_of_the_runs_screens_and_no_run_is_in_both(tmp_path: Path) -> None:
    made: list[int] = []
    folder = baseline.folder_of(tmp_path, KEY, ["configs/gate-cpu.toml"])
    assert folder == tmp_path / KEY / "gate-cpu"
    place = baseline.record(folder, 15, writer(made), like=LIKE, resume=False, say=lambda _: None)
    assert place == tmp_path / KEY / "gate-cpu.candidate"
    assert made == list(range(1, 16))
    runs = baseline.load(place)
    assert (len(runs.screening), len(runs.confirming)) == (5, 10)
    names = [path.name for part in baseline.PARTS for path in baseline.files(place, part)]
    assert len(set(names)) == 15


def test_an_interrupted_recording_goes_on(tmp_path: Path) -> None:
    made: list[int] = []
    folder = tmp_path / "gate-cpu"

    def dies(path: Path, number: int) -> dict[str, Any]:
        if number == 4:
            raise KeyboardInterrupt
        return writer(made)(path, number)

    with pytest.raises(KeyboardInterrupt):
        baseline.record(folder, 9, dies, like=LIKE, resume=False, say=lambda _: None)
    with pytest.raises(UsageError, match="holds runs already: --resume goes on"):
        baseline.record(folder, 9, writer(made), like=LIKE, resume=False, say=lambda _: None)
    baseline.record(folder, 9, writer(made), like=LIKE, resume=True, say=lambda _: None)
    assert made == list(range(1, 10))


def test_runs_measured_otherwise_are_not_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "gate-cpu"
    baseline.record(folder, 9, writer([]), like=LIKE, resume=False, say=lambda _: None)
    other = LIKE | {"rounds": 5}
    made: list[int] = []
    with pytest.raises(UsageError, match=r"measured with .*now asked"):
        baseline.record(folder, 12, writer(made), like=other, resume=True, say=lambda _: None)
    assert made == []


def test_an_unfinished_candidate_is_not_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "gate-cpu"

    def dies(path: Path, number: int) -> dict[str, Any]:
        if number == 5:
            raise KeyboardInterrupt
        return writer([])(path, number)

    with pytest.raises(KeyboardInterrupt):
        baseline.record(folder, 9, dies, like=LIKE, resume=False, say=lambda _: None)
    with pytest.raises(UsageError, match="is not finished: 2 screening runs"):
        baseline.load_whole(baseline.candidate_of(folder))


def test_a_replacement_that_was_killed_half_way_is_mended(tmp_path: Path) -> None:
    folder, aside = tmp_path / "gate-cpu", tmp_path / "gate-cpu.replaced"
    for number in range(2):
        baseline.record(folder, 9, writer([]), like=LIKE, resume=False, say=lambda _: None)
        if number:
            folder.rename(aside)
        baseline.replace(folder, f"## entry {number}\n")
    log = (folder / baseline.LOG).read_text(encoding="utf-8")
    assert "## entry 0" in log
    assert not aside.exists()


def test_too_few_runs_are_refused_before_any_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--runs 8: expected 9 at least"):
        baseline.record(tmp_path / "x", 8, writer([]), like=LIKE, resume=False, say=lambda _: None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ('{"benchmarks": []}', "was not written by perfkit"),
        (json.dumps(run(key="other")), "measured on other, the others on cpu-test"),
        (json.dumps(run()).replace('"rounds": 2', '"rounds": 9'), "rounds 9 instead of 2"),
    ],
)
def test_a_set_that_does_not_hold_together_is_refused(
    tmp_path: Path, content: str, words: str
) -> None:
    baseline.record(tmp_path / "b", 9, writer([]), like=LIKE, resume=False, say=lambda _: None)
    bad = tmp_path / "b.candidate" / "confirming" / "0010_run.json"
    bad.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=words) as error:
        baseline.load(tmp_path / "b.candidate")
    assert "0010_run.json" in str(error.value)


def test_an_empty_folder_says_how_a_baseline_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="perfkit baseline record makes one"):
        baseline.load(tmp_path)


def test_an_accepted_candidate_takes_the_place_and_the_log_grows(tmp_path: Path) -> None:
    folder = tmp_path / "gate-cpu"
    for number, reason in enumerate(("first", "second")):
        how = {"e2e_s": (0.3 + number,) * 2}
        baseline.record(folder, 9, writer([], **how), like=LIKE, resume=False, say=lambda _: None)
        baseline.replace(folder, f"## {reason}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gate-cpu"]
    log = (folder / baseline.LOG).read_text(encoding="utf-8")
    assert log.index("## first") < log.index("## second")
    found = baseline.load(folder).runs[0]["perfkit"]["cells"][CELL]["samples"]["e2e_s"]
    assert found == [1.3, 1.3]


def sets(factor: float) -> RunSet:
    made = tuple(run(e2e_s=(0.3 * factor * f,) * 2, ttft_s=0.1 * f) for f in FACTORS)
    return RunSet(made[:3], made[3:])


def test_the_entry_tells_what_changed_by_how_much_and_why() -> None:
    entry = entry_of(sets(1.0), sets(1.1), "slower but right", "2026-01-02", Rule())
    assert entry.startswith("## 2026-01-02: slower but right")
    assert "3 + 6 runs of commit 0123456789ab, in place of 3 + 6 runs" in entry
    (tokens,) = [line for line in entry.splitlines() if "output_tokens_per_s" in line]
    assert "| 20 | 18.18 | -9.1% |" in tokens
    assert tokens.endswith("| worse |")
    (ttft,) = [line for line in entry.splitlines() if "ttft_s" in line]
    assert "| +0.0% |" in ttft
    assert ttft.endswith("|  |")


def test_a_first_entry_has_no_changes() -> None:
    entry = entry_of(None, sets(1.0), "first", "2026-01-02", Rule())
    assert "the first baseline here" in entry
    assert "| new |" in entry


def test_other_runs_are_of_use_only_with_the_same_settings() -> None:
    assert baseline.unlike(stored(1)[0], run()) is None
