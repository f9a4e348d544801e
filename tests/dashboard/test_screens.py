from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perfkit import dashboard
from tests.dashboard.files import room, run, write

if TYPE_CHECKING:
    from pathlib import Path

testing = pytest.importorskip("streamlit.testing.v1")

APP = f"{dashboard.__path__[0]}/app.py"
FMHA = "torch-eager/llama2-7b/bf16/fmha/b8/p512/n64/tp1"
HOSTILE = "<script>alert(1)</script> **bold** \u202etxt [x](http://example.org) $a$ " + "x" * 10_000


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that opens the app over a folder, at a page."""

    def at_page(folder: Path, page: str = "overview") -> Any:
        monkeypatch.setattr("sys.argv", ["app.py", str(folder)])
        app = testing.AppTest.from_file(APP, default_timeout=60).run()
        if page != "overview":
            app.switch_page(f"screens/{page}.py").run()
        return fine(app)

    return at_page


def fine(app: Any) -> Any:
    assert [(one.message, one.stack_trace) for one in app.exception] == []
    return app


def frames(app: Any) -> list[Any]:
    return [found.value for found in app.dataframe]


def upload(app: Any, name: str, content: object) -> Any:
    data = json.dumps(content).encode()
    app.file_uploader("uploads").set_value((name, data, "application/json"))
    return fine(app.run())


def test_overview_counts_draws_and_names_what_is_broken(tmp_path: Path, opened: Any) -> None:
    app = opened(room(tmp_path / "r"))
    told = {one.label: one.value for one in app.metric}
    assert told == {
        "cells": "12", "result files": "3", "machines": "1", "models": "1", "cells not ok": "3",
    }  # fmt: skip
    assert [one.value for one in app.warning] == ["4 files cannot be shown; all others are."]
    broken, chart, cells, files = frames(app)
    assert broken["reason"].iloc[0] == "is empty"
    assert list(chart["output tok/s"])[1:3] == [pytest.approx(120.0), pytest.approx(360.0)]
    assert len(cells) == 12
    assert len(files) == 10
    assert len(app.get("vega_lite_chart")) == 1


def test_overview_filters_by_sidebar_words_and_verdicts(tmp_path: Path, opened: Any) -> None:
    app = opened(room(tmp_path / "r"))
    app.multiselect("pick_commit").select("def456").run()
    assert len(frames(app)[2]) == 8
    app.text_input("cell_words").input("/b32/").run()
    assert list(frames(app)[2]["file"]) == ["r/sub/c.json", "r/sub/b.json"]
    app.text_input("cell_words").input("").run()
    app.multiselect("verdicts").select("unstable").run()
    assert set(frames(fine(app))[2]["cell"]) == {
        "torch-compile/llama2-7b/bf16/fmha/b8/p512/n64/tp1"
    }


def test_compare_divides_what_may_be_divided(tmp_path: Path, opened: Any) -> None:
    app = opened(room(tmp_path / "r"), "compare")
    assert app.selectbox("file_A").value == "r/sub/b.json"
    assert app.selectbox("file_B").value == "r/sub/c.json"
    (table,) = frames(app)
    ratios = dict(zip(table["cell"], table["B ÷ A"], strict=True))
    assert ratios[FMHA.removesuffix("/tp1")] == pytest.approx(120 / 110)
    unstable = table[table["cell"].str.startswith("torch-compile")]
    assert unstable["B ÷ A"].isna().all()
    assert list(unstable["note"]) == ["A is unstable"]
    app.selectbox("file_A").select("r/a.json").run()
    assert frames(fine(app))[0]["B ÷ A"].iloc[1] == pytest.approx(1.2)


def test_no_ratio_between_machines_and_none_of_what_is_synthetic(
    tmp_path: Path, opened: Any
) -> None:
    write(tmp_path / "r/a.json", run(day=1))
    other = run(day=2)
    other["perfkit"]["machine"]["key"] = "gpu-b"
    write(tmp_path / "r/b.json", other)
    app = opened(tmp_path / "r", "compare")
    (table,) = frames(app)
    assert table["B ÷ A"].isna().all()
    assert "another machine" in set(table["note"])
    write(tmp_path / "r/b.json", run(day=2, synthetic="a test"))
    app = fine(app.run())
    assert [one.value for one in app.error] == ["These two cannot be compared."]
    assert "r/b.json is synthetic" in app.text[0].value


def test_history_marks_what_changed(tmp_path: Path, opened: Any) -> None:
    app = opened(room(tmp_path / "r"), "history")
    app.selectbox("history_cell").select(FMHA).run()
    app.selectbox("history_figure").select("output tok/s").run()
    (table,) = frames(fine(app))
    assert list(table["output tok/s"]) == [100.0, 110.0, 120.0]
    assert list(table["changed"]) == ["", "", "driver 580.1 → 590.2"]
    assert list(table["commit changed"]) == ["", "commit abc123 → def456", ""]


def test_pareto_and_ablation_show_numbers_beside_their_charts(tmp_path: Path, opened: Any) -> None:
    folder = room(tmp_path / "r")
    app = opened(folder, "pareto")
    (table,) = frames(app)
    assert set(table["state"]) >= {"on the front", "unstable"}
    assert len(app.get("vega_lite_chart")) == 1
    app.switch_page("screens/ablation.py").run()
    app.selectbox("ablation_figure").select("output_tokens_per_s").run()
    (table,) = frames(fine(app))
    # Of the newest commit 110 and 120 token/s against 80: the median of +37.5 and +50 %.
    assert list(table["runs"]) == ["2"]
    assert table["output tok/s"].iloc[0].startswith("+43.8%")


def test_batching_shows_sweeps_and_validations(tmp_path: Path, opened: Any) -> None:
    app = opened(room(tmp_path / "r"), "batching")
    lines, field, errors = frames(app)
    assert list(lines["p99 ms"]) == [20.0, 50.0, 30.0, 10.0]
    assert len(field) == 1
    assert len(errors) == 3
    assert len(app.get("vega_lite_chart")) == 3


def test_an_empty_folder_says_what_to_do_on_every_page(tmp_path: Path, opened: Any) -> None:
    (tmp_path / "r").mkdir()
    app = opened(tmp_path / "r")
    assert "`perfkit run`" in app.info[0].value
    for page in ("compare", "history", "pareto", "ablation", "batching"):
        fine(app.switch_page(f"screens/{page}.py").run())
        assert len(app.info) == 1


def test_an_uploaded_file_stands_beside_the_others_and_is_written_nowhere(
    tmp_path: Path, opened: Any
) -> None:
    folder = tmp_path / "r"
    write(folder / "a.json", run(day=1))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    app = upload(opened(folder), "a.json", run(day=2, rate=150.0))
    assert {one.label: one.value for one in app.metric}["result files"] == "2"
    app.switch_page("screens/compare.py").run()
    assert app.selectbox("file_Bupload/1/a.json").value == "upload/1/a.json"
    assert frames(fine(app))[0]["B ÷ A"].iloc[1] == pytest.approx(1.5)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_uploaded_file_that_is_broken_is_named(tmp_path: Path, opened: Any) -> None:
    (tmp_path / "r").mkdir()
    app = upload(opened(tmp_path / "r"), "x.json", {"perfkit": {"schema": 2, "cells": {}}})
    assert frames(app)[0].to_dict("records") == [
        {"file": "upload/1/x.json", "reason": "has schema 2, expected 1"}
    ]


def test_texts_of_a_file_are_never_markup(tmp_path: Path, opened: Any) -> None:
    document = run(day=1)
    machine = document["perfkit"]["machine"]
    machine["name"] = machine["key"] = machine["fields"]["driver"] = HOSTILE
    document["commit_info"]["id"] = "<b>12345"
    document["perfkit"]["cells"] = {
        name + HOSTILE: body | {"case": body["case"] | {"model": HOSTILE}}
        for name, body in document["perfkit"]["cells"].items()
    }
    write(tmp_path / "r/a.json", document)
    write(tmp_path / "r/b.json", document)
    app = opened(tmp_path / "r")
    for page in ("overview", "compare", "history", "pareto", "ablation"):
        fine(app.switch_page(f"screens/{page}.py").run())
        marked = (*app.markdown, *app.caption, *app.info, *app.error, *app.warning, *app.title)
        assert not [one.value for one in marked if "script" in one.value or "<b>" in one.value]
        shown = [frame.astype(str).to_json() for frame in frames(app)]
        assert "script" in "".join([*shown, *(one.value for one in app.selectbox)])
