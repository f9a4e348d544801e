from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from perfkit.batching.server.comparison import compare
from perfkit.batching.server.document import answers, read
from tests.test_cli import perfkit

if TYPE_CHECKING:
    from pathlib import Path

CASE = "torch-eager/llama-tiny/fp32/fmha/b3/p16/n4/tp1"
SMALL = ["--requests", "30", "--fit-rounds", "2", "--device", "cpu", "--output", "out/v.json"]


def test_a_validation_measures_and_predicts_and_its_file_can_be_predicted_again(
    tmp_path: Path,
) -> None:
    done = perfkit(
        tmp_path, "batching", "validate", CASE, *SMALL, "--load", "0.3", "--delay-ms", "2"
    )
    assert done.returncode == 0, done.stderr
    assert "warm; 1 loads, each calibrated first, will take about" in done.stdout
    for figure in ("wait", "TTFT", "TPOT", "e2e", "a batch"):
        assert f"  0.3 {figure} " in done.stdout
    path = tmp_path / "out/v.json"
    document, setup = read(path)
    assert document["machine"]["torch"]
    assert document["command"][:3] == ["perfkit", "batching", "validate"]

    (load,) = document["loads"]
    found = answers(load["rows"])
    assert [one.outcome for one in found] == ["served"] * 30
    assert all(
        one.arrival_s <= one.dispatch_s <= one.first_token_s <= one.finish_s for one in found
    )
    sent = zip(load["rows"]["arrival_s"], load["planned_s"], strict=True)
    assert all(arrival >= planned for arrival, planned in sent)
    # First come, first served, in batches of one run each.
    assert [one.batch for one in found] == sorted(one.batch for one in found)
    runs = {one.batch: (one.dispatch_s, one.finish_s) for one in found}
    for number, (begin, _) in runs.items():
        assert number == 0 or begin >= runs[number - 1][1]
    sizes = [one.size for one in found]
    assert all(sizes[at] == sum(other.batch == one.batch for other in found)
               for at, one in enumerate(found))  # fmt: skip
    assert max(sizes) <= 3

    told = document.pop("compared")
    assert json.loads(json.dumps(compare(document, setup))) == told
    assert math.isfinite(told[0]["table"]["error"]["e2e_s"]["mean"])

    path.write_text(json.dumps(document), encoding="utf-8")
    code = "import sys\nsys.modules['numba'] = None\nfrom perfkit.cli import main\nmain()\n"
    command = [sys.executable, "-c", code, "batching", "validate", "--from", "out/v.json"]
    without = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert without.stdout == (
        "measured, not predicted: numba is not installed here; where it is: "
        "perfkit batching validate --from out/v.json\n"
    )
    again = perfkit(tmp_path, "batching", "validate", "--from", "out/v.json")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines() == done.stdout.splitlines()[2:]
    assert json.loads(path.read_text())["compared"] == told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected a case to measure, or --from FILE"),
        (["llama"], "not a case id: 'llama'"),
        ([CASE, "--policy", "greedy"], "unknown policy 'greedy'"),
        ([CASE, "--policy", "static", "--delay-ms", "3"], "--policy static has no delay"),
        ([CASE, "--delay-ms", "inf"], "--policy static is what waits"),
        ([CASE, "--load", "0"], "expected different shares over 0"),
        ([CASE, "--load", "0.5", "--load", "0.5"], "expected different shares over 0"),
        ([CASE, "--output", "v.txt"], "expected the name of a .json file"),
        ([CASE, "--timeout-ms", "0"], "timeout_s 0.0: expected seconds over 0"),
        ([CASE.replace("fp32", "fp16")], "cannot run here: fp16 on a CPU"),
        (["--from", "none.json"], "cannot read none.json"),
        ([CASE, "--from", "none.json"], "measures nothing, so expected no case"),
        (["--from", "none.json", "--policy", "static", "--requests", "3"],
         "leave out --policy, --requests"),
        ([CASE, "--policy", "one-by-one", "--max-batch", "8"],
         "--max-batch is no option of one-by-one"),
    ],
)  # fmt: skip
def test_wrong_use_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    from perfkit.cli import main

    monkeypatch.chdir(tmp_path)
    device = [] if "--from" in arguments else ["--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["perfkit", "batching", "validate", *arguments, *device])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
