from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from perfkit.errors import UsageError
from perfkit.reporting.page.blocks import Picture
from perfkit.reporting.page.gathering import Found, Gathered, gather
from perfkit.reporting.page.pictures import has_charts, inert_json
from perfkit.reporting.page.writing import page
from tests.reporting.documents import cell, document, matrix, small
from tests.reporting.page.test_gathering import put

BOTH = [
    False,
    pytest.param(True, marks=pytest.mark.skipif(not has_charts(), reason="needs the extra report")),
]
RTL = "\u202egnp.exe שלום"
HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=hacked()>'\"&$\\frac{1}"
# Elements whose attribute would fetch something.
SOURCES = {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}


class Page(HTMLParser):
    """The elements of a page, its text, and what it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.handlers: list[str] = []
        self.labels: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in SOURCES]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.labels += [value or "" for name, value in attrs
                        if name == "aria-label" and ("role", "img") in attrs]  # fmt: skip

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out where a test looks at words alone."""
    made = mock.Mock(return_value=lambda *_: [])
    monkeypatch.setattr("perfkit.reporting.page.writing.drawing", made)


def gathered(*documents: dict[str, Any], problems: tuple[str, ...] = ()) -> Gathered:
    found = (Found(Path(f"run{at}.json"), one) for at, one in enumerate(documents))
    return Gathered(tuple(found), (), (), problems)


@pytest.fixture(scope="module", params=BOTH)
def whole(request: pytest.FixtureRequest) -> str:
    """A page of a measured file, a made-up one and a line of what is not shown."""
    made_up = document(cell(attention="nofmha"), cell(), synthetic="a script")
    return page(gathered(small(), made_up, problems=("half.json",)), interactive=request.param)


def test_nothing_is_fetched_from_outside(whole: str) -> None:
    made = Page(whole)
    assert [source for source in made.sources if not source.startswith("#")] == []
    assert "link" not in made.tags
    assert "iframe" not in made.tags
    assert "Content-Security-Policy" in whole


@pytest.mark.slow
@pytest.mark.parametrize("interactive", BOTH)
def test_two_hundred_cells_are_under_two_megabytes(interactive: bool) -> None:
    made = matrix(precisions=("bf16",))
    assert len(made["perfkit"]["cells"]) > 200
    assert len(page(gathered(made), interactive=interactive).encode()) < 2_000_000


@pytest.mark.parametrize("interactive", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_hostile_names_are_text(interactive: bool) -> None:
    _, body = cell(attention="nofmha")
    long = "x" * 10_000
    body["case"] |= {"model": HOSTILE, "attention": RTL}
    body["reason"] = HOSTILE
    body["verdict"] = "unstable"
    odd = (f"{HOSTILE}/{RTL}", body)
    other = cell()
    other[1]["case"]["model"] = long
    made = document(
        odd, (long, other[1]), machine={"key": HOSTILE, "name": HOSTILE, "fields": {}},
        session={"command": HOSTILE, "started": RTL, "matrices": [HOSTILE]},
    )  # fmt: skip
    text = page(gathered(made, problems=(HOSTILE,)), interactive=interactive)
    shown = Page(text)
    assert (shown.tags.count("img"), shown.handlers) == (0, [])
    charts = text.count('class="spec"')
    assert shown.tags.count("script") == charts + 1
    assert bool(charts) is interactive
    assert "</script><script>window" not in text
    assert f"{HOSTILE}/{RTL}" in shown.text
    assert long in shown.text


def test_json_in_a_page_cannot_end_its_element() -> None:
    text = inert_json({"name": "</script><!--&"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": "</script><!--&"}


def test_every_picture_has_a_text_alternative_and_a_table(whole: str) -> None:
    made = Page(whole)
    assert made.tags.count("figure") == len(made.labels) >= 6
    assert all(len(label) > 20 for label in made.labels)
    sections = re.split('<section id="(?:measured|synthetic)-', whole)[1:]
    assert all("<table" in section for section in sections)


def test_dark_mode_and_paper_have_their_style(whole: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in whole
    assert "@media print" in whole
    assert '[data-verdict="ok"]' in whole


def test_what_nobody_measured_stands_apart_and_is_marked_throughout(whole: str) -> None:
    measured, synthetic = whole.split('<div class="part synthetic">')
    assert "SYNTHETIC" not in measured.split("</nav>")[1]
    pictures = synthetic.split("<figure>")[1:]
    assert len(pictures) >= 3
    assert all("SYNTHETIC" in one.split("</figure>")[0] for one in pictures)
    assert "x eager" not in synthetic
    assert "Fused attention ablated" not in synthetic


@pytest.mark.usefixtures("undrawn")
def test_two_machines_stand_beside_each_other_without_a_ratio_across() -> None:
    here = document(cell(attention="nofmha", rate=100.0))
    there = document(cell(rate=200.0), machine={"key": "h100", "name": "NVIDIA H100", "fields": {}})
    text = Page(page(gathered(here, there), interactive=False)).text
    assert "Files of 2 machines" in text
    assert "h200: run0.json; h100: run1.json" in text
    assert "no reference in its file" in text
    assert "+100.0%" not in text


@pytest.mark.usefixtures("undrawn")
def test_results_without_samples_are_shown_and_said_to_have_none() -> None:
    name, body = cell()
    del body["samples"]
    text = Page(page(gathered(document((name, body))), interactive=False)).text
    assert "run0.json: 1 cells with figures have no samples" in text
    assert name.removesuffix("/tp1") in text


@pytest.mark.usefixtures("undrawn")
def test_a_section_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("odd")

    monkeypatch.setattr("perfkit.reporting.page.sections.memory_rows", broken)
    monkeypatch.setattr("perfkit.reporting.page.sections.account", broken)
    text = Page(page(gathered(small()), interactive=False)).text
    assert "Not shown: KeyError: 'odd'" in text
    assert "Run health" in text


def test_a_picture_that_fails_leaves_its_table(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = [Picture("Latency <distributions>", failed="not drawn, too odd")]
    made = mock.Mock(return_value=lambda *_: failed)
    monkeypatch.setattr("perfkit.reporting.page.writing.drawing", made)
    text = Page(page(gathered(small()), interactive=False)).text
    assert "Latency <distributions>: not drawn, too odd" in text
    assert "TTFT p50 ms" in text


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_shown_is_in_the_page(tmp_path: Path) -> None:
    put(tmp_path, "good.json", small())
    put(tmp_path, "half.json", "{")
    text = Page(page(gather([tmp_path]), interactive=False)).text
    assert "half.json is not JSON" in text
    assert "6 cells" in text


def test_nothing_at_all_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"nothing to report: {tmp_path} holds no .json file"):
        page(gather([tmp_path]))


@pytest.mark.usefixtures("undrawn")
def test_a_gate_stands_first_worst_change_first(tmp_path: Path) -> None:
    told = [
        {"cell": "fine", "metric": "ttft_s", "verdict": "SAME", "change": 0.001},
        {"cell": "slow", "metric": "ttft_s", "verdict": "REGRESSED", "change": 0.07,
         "interval": [0.05, 0.09]},
    ]  # fmt: skip
    put(tmp_path, "gate.json", {"judgements": told})
    put(tmp_path, "run.json", small())
    text = Page(page(gather([tmp_path]), interactive=False)).text
    text = text.partition("Each figure of this version")[2]
    assert 0 < text.index("slow") < text.index("fine") < text.index("Largest effect first")
    assert "+5.0% to +9.0%" in text
