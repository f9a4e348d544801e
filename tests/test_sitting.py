from __future__ import annotations

from pathlib import Path

from perfkit.sitting import _command


def test_a_recorded_command_holds_no_path_of_its_machine() -> None:
    root = Path("/home/me/perfkit")
    asked = ("/home/me/perfkit/benchmarks", "--benchmark-json=/data/me/runs/.1.json.partial")
    assert _command(asked, root) == "pytest benchmarks --benchmark-json=OUT/.1.json.partial"
    inside = ("--benchmark-json=/home/me/perfkit/results/a.json",)
    assert _command(inside, root) == "pytest --benchmark-json=results/a.json"
