from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from perfkit.dashboard import launch
from perfkit.errors import UsageError
from tests import here


def value(line: list[str], flag: str) -> str:
    return line[line.index(flag) + 1]


def test_it_listens_here_alone_and_tells_nobody(tmp_path: Path) -> None:
    line = launch.command([tmp_path])
    assert line[:3] == [sys.executable, "-m", "perfkit.dashboard.server"]
    assert value(line, "--server.address") == "127.0.0.1"
    assert value(line, "--browser.gatherUsageStats") == "false"
    names = [line[at + 1] for at, part in enumerate(line) if part == "--server.allowedHosts"]
    assert names == ["127.0.0.1", "localhost"]
    assert "--server.headless" not in line
    assert line[-2:] == ["--", str(tmp_path)]


def test_port_address_and_no_browser_can_be_asked_for(tmp_path: Path) -> None:
    line = launch.command([tmp_path], address="0.0.0.0", port=9000, headless=True)  # noqa: S104
    assert value(line, "--server.port") == "9000"
    assert value(line, "--server.headless") == "true"
    assert value(line, "--server.address") == "0.0.0.0"  # noqa: S104
    assert "--server.allowedHosts" not in line


def test_every_flag_is_one_that_streamlit_knows(tmp_path: Path) -> None:
    cli = pytest.importorskip("streamlit.web.cli")
    known = {name for option in cli.main_run.params for name in option.opts}
    asked = [part for part in launch.command([tmp_path], port=1, headless=True) if part[:2] == "--"]
    assert set(asked) - {"--"} <= known


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "streamlit" else find(name)
    )
    done = here.perfkit(tmp_path, "dashboard", str(tmp_path))
    assert done.returncode == 2
    told = "perfkit: perfkit dashboard needs streamlit: pip install 'perfkit[dashboard]'\n"
    assert done.stderr == told


def test_the_usual_folders_or_those_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"nothing to show: .* results, data, baselines"):
        launch.places([])
    (tmp_path / "data").mkdir()
    (tmp_path / "results").write_text("a file", encoding="utf-8")
    assert launch.places([]) == [Path("data")]
    assert launch.places([Path("results")]) == [Path("results")]
    with pytest.raises(UsageError, match="no such folder or file: none, gone"):
        launch.places([Path("none"), Path("data"), Path("gone")])
