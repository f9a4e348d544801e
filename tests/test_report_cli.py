from __future__ import annotations

import json
from typing import TYPE_CHECKING
from unittest import mock

from tests.here import perfkit
from tests.reporting.documents import small

if TYPE_CHECKING:
    from pathlib import Path

DRAWN = "perfkit.reporting.page.writing.page"


def test_a_report_is_written_and_what_is_wrong_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/good.json").write_text(json.dumps(small()), encoding="utf-8")
    (tmp_path / "runs/half.json").write_text("{", encoding="utf-8")
    done = perfkit(tmp_path, "report", "runs", "--static", "-o", "out/report.html")
    assert (done.returncode, done.stdout) == (0, "out/report.html\n")
    assert "runs/half.json is not JSON" in done.stderr
    text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "<svg" in text
    assert "vegaEmbed" not in text


def test_with_nothing_to_show_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = perfkit(tmp_path, "report", "empty", "nowhere.json")
    assert done.returncode == 2
    assert "empty holds no .json file" in done.stderr
    assert "cannot read nowhere.json" in done.stderr
    assert not (tmp_path / "report.html").exists()


def test_the_place_of_a_report_must_be_one_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(json.dumps(small()), encoding="utf-8")
    done = perfkit(tmp_path, "report", "good.json", "-o", str(tmp_path))
    assert done.returncode == 2
    assert "it is a folder" in done.stderr


def test_what_is_reported_is_never_written_over(tmp_path: Path) -> None:
    text = json.dumps(small())
    (tmp_path / "good.json").write_text(text, encoding="utf-8")
    done = perfkit(tmp_path, "report", ".", "-o", "good.json")
    assert done.returncode == 2
    assert "good.json is one of the files to report, which is not written over" in done.stderr
    assert (tmp_path / "good.json").read_text(encoding="utf-8") == text


def test_a_demo_shows_shipped_results_and_opens_them_only_where_asked(tmp_path: Path) -> None:
    with mock.patch("webbrowser.open", return_value=True) as opened, mock.patch(
        DRAWN, return_value="<p>"
    ) as drawn:  # fmt: skip
        done = perfkit(tmp_path, "demo", "--no-open")
        assert (done.returncode, done.stdout, done.stderr) == (0, "results/demo.html\n", "")
        assert not opened.called
        (shown,) = drawn.call_args.args
        assert perfkit(tmp_path, "demo", "-o", "here.html").returncode == 0
        opened.assert_called_once_with((tmp_path / "here.html").as_uri())
    names = {one.path.name for one in shown.results}
    assert {"0001_llama2-7b.json", "llama2-7b-h100.json", "metrics_trtllm_synthetic.json"} < names
    assert shown.problems == ()


def test_a_demo_without_a_browser_says_so(tmp_path: Path) -> None:
    with mock.patch("webbrowser.open", return_value=False), mock.patch(DRAWN, return_value="<p>"):
        done = perfkit(tmp_path, "demo")
    assert done.returncode == 0
    assert "no browser could be started" in done.stderr
