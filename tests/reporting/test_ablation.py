from __future__ import annotations

import json
from html.parser import HTMLParser

from perfkit.reporting import ablation as report
from perfkit.results.ablation import ablate
from tests.reporting.layout import clashes
from tests.results.test_ablation import PLAIN_KERNELS, arm, document, run

RUNS = [run(0.0120), run(0.0121), run(0.0119)]
SAME = document(arm("nofmha", PLAIN_KERNELS), arm("fmha", PLAIN_KERNELS))


def test_a_row_tells_change_interval_kernels_and_runs() -> None:
    (row,) = report.rows(ablate(RUNS))
    assert row[:4] == (
        "torch-eager llama2-7b bf16 b8 p512 n64", "fmha", "materialised → flash",
        "materialised → flash",
    )  # fmt: skip
    assert row[5].startswith("-40.0% (-4")
    assert row[-1] == "3"


def test_a_refused_pair_stands_in_the_table_with_its_reason() -> None:
    (row,) = report.rows(ablate([SAME]))
    assert row[4].startswith("refused: both arms ran the same attention kernels")
    assert row[5:] == ("–",) * 5


def test_the_quoted_gain_is_said_to_hold_where_it_does_and_why() -> None:
    text = "\n".join(report.quoted(ablate(RUNS)))
    assert "latency per token: holds for 1 of 1 pairs, where prefill was 7 % of nofmha's" in text
    assert "TPOT by -40 %: torch-eager llama2-7b bf16 b8 p512 n64  fmha." in text
    none = "\n".join(report.quoted(ablate([run(0.0195)])))
    assert "tokens/s: holds for none of 1 pairs." in none
    assert "tokens/s: does not hold for 1 of 1 pairs" in none
    assert "a decode step has one query row" in none
    assert "No pair here can say anything" in report.quoted(ablate([SAME]))[0]


def test_the_html_is_a_closed_fragment_without_script() -> None:
    opened: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, _: object) -> None:
            opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert opened.pop() == tag

    text = report.html_fragment(ablate(RUNS), RUNS)
    Tags().feed(text)
    assert opened == []
    assert "<script" not in text
    assert "<td>-40.0%" in text


def test_json_holds_the_same_and_is_json() -> None:
    found = json.loads(json.dumps(report.to_json(ablate(RUNS), RUNS), allow_nan=False))
    (pair,) = found["pairs"]
    assert pair["changes"]["tpot_s"]["runs"] == 3
    assert pair["lower_latency"] is True


def test_the_picture_is_readable() -> None:
    pairs = ablate([*RUNS, *[document(*SAME["perfkit"]["cells"].items(), key="gpu-b")]])
    figure = report.figure(pairs)
    assert clashes(figure) == []
    words = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "refused" in words
