from __future__ import annotations

import re
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.profiling import tools
from tests.profiling.test_classes import REAL


def test_nsys_looks_where_it_is_asked_to_and_into_graphs() -> None:
    made = tools.nsys(Path("profiles/a.nsys-rep"))
    assert made[:2] == ["nsys", "profile"]
    assert {"--capture-range=cudaProfilerApi", "--cuda-graph-trace=node"} <= set(made)
    assert "--output=profiles/a" in made


def test_ncu_counts_in_a_few_attention_kernels_and_leaves_the_clocks_alone() -> None:
    made = tools.ncu(Path("profiles/a_ncu.csv"))
    wanted = {"--csv", "--clock-control=none", "--profile-from-start=off", "--launch-count=48"}
    assert wanted <= set(made)
    (names,) = [one for one in made if one.startswith("--kernel-name=regex:")]
    pattern = names.partition("regex:")[2]
    kernels = [name for name in REAL["fmha"] if not name.startswith("aten::")]
    assert [name for name in kernels if not re.search(pattern, name)] == []


def test_a_tool_that_cannot_look_here_is_told_with_the_command_for_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    again = "perfkit profile a/b --tool nsys"
    with pytest.raises(UsageError, match=f"nsys is not on the PATH; on a GPU machine .*: {again}"):
        tools.check("nsys", "cuda", again)
    with pytest.raises(UsageError, match=f"nsys looks at GPUs, and this is a CPU; .*: {again}"):
        tools.check("nsys", "cpu", again)


def test_what_ncu_said_into_its_log_is_told(tmp_path: Path) -> None:
    log = tmp_path / "ncu.csv"
    log.write_text("==PROF== Connected\n==ERROR== ERR_NVGPUCTRPERM\n==WARNING== No kernels\n")
    assert tools.complaints(log) == "==ERROR== ERR_NVGPUCTRPERM ==WARNING== No kernels"
    assert tools.complaints(tmp_path / "none.csv") == ""
