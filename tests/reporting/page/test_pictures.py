from __future__ import annotations

import re

import pytest

from perfkit.reporting.drawing import blank
from perfkit.reporting.looks import PALETTE
from perfkit.reporting.page.pictures import clipped, drawing, has_charts, short_named, svg_of
from tests.reporting.documents import cell, document


def test_text_of_a_picture_stays_text_and_its_names_are_its_own() -> None:
    draw = drawing([document()], interactive=False)
    (one,) = draw("A label", lambda: blank(2.0, "a $title$ <b>"), lambda: None)
    assert one.svg is not None
    assert one.svg.startswith("<svg ")
    assert "a $title$ &lt;b&gt;" in one.svg
    (other,) = draw("A label", lambda: blank(2.0, "another"), lambda: None)
    assert other.svg is not None
    names = [set(re.findall(r'\sid="([^"]+)"', svg)) for svg in (one.svg, other.svg)]
    assert names[0]
    assert names[0] & names[1] == set()
    assert "http" not in one.svg.replace("http://www.w3.org", "")


def test_a_synthetic_document_marks_its_picture() -> None:
    figure = blank(2.0, "title")
    assert "SYNTHETIC" in svg_of(figure, [document(synthetic="a script")])


def test_nothing_to_draw_is_no_picture() -> None:
    for interactive in (False, True):
        draw = drawing([document()], interactive=interactive)
        assert draw("label", lambda: None, lambda: None) == []


@pytest.mark.parametrize("interactive", [False, True])
def test_what_cannot_be_drawn_says_so(interactive: bool) -> None:
    def broken() -> None:
        raise ValueError("no")

    (one,) = drawing([document()], interactive=interactive)("label", broken, broken)
    assert (one.svg, one.spec, one.failed) == (None, None, "not drawn, ValueError: no")


def test_names_fit_in_a_picture_and_stay_whole_in_the_document() -> None:
    name, body = cell(model="m" * 10_000)
    made = document((name, body))
    short = short_named(made)
    assert len(short["perfkit"]["cells"][name]["case"]["model"]) == 40
    assert len(made["perfkit"]["cells"][name]["case"]["model"]) == 10_000
    assert clipped("a\x00b\u202ec") == "a?b?c"


def test_the_palette_is_told_apart_by_all_readers() -> None:
    # Okabe and Ito's colours, without the yellow that is lost on white.
    assert PALETTE[:6] == ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7")


def test_charts_need_both_parts_of_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("altair", "vl_convert"):
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name, gone=missing: None if name == gone else name
        )
        assert not has_charts()
