from __future__ import annotations

import json

from perfkit.reporting import gate as report
from perfkit.results import gate
from perfkit.results.gate import Judgement
from perfkit.results.outcome import Asked, Outcome

FOUND = (
    Judgement("a/tp1", "ttft_s", gate.SAME, None, 0.001, (-0.01, 0.01), 0.03, (5, 1)),
    Judgement("b/tp1", "output_tokens_per_s", gate.REGRESSED, None, -0.06, (-0.07, -0.05), 0.02,
              (10, 5), 0.0003),
    Judgement("c/tp1", "", gate.MISSING, "in the baseline, not in the new run"),
)  # fmt: skip
OUTCOME = Outcome(FOUND, runs=6, cell_runs=8)
ASKED = Asked(("a/tp1", "b/tp1"))


def test_the_worst_comes_first_and_a_falling_rate_is_bad() -> None:
    assert [one.cell for one in report.ranked(FOUND)] == ["c/tp1", "b/tp1", "a/tp1"]


def test_the_headline_tells_verdict_counts_and_cost() -> None:
    assert report.headline(OUTCOME, ASKED) == (
        "not comparable: INVALID or MISSING (1 MISSING, 1 REGRESSED, 1 SAME); 6 runs, 4.00 of each "
        "cell; limit 2.0%, to be seen 5.0%, q 0.05"
    )


def test_markdown_shows_what_is_not_the_same_before_the_rest() -> None:
    text = report.markdown(OUTCOME, ASKED)
    shown, folded = text.split("<details>")
    assert "REGRESSED | -6.0% | -7.0% to -5.0% | 10 v 5 | 2.0% | 0.0003" in shown
    assert "| a |" not in shown
    assert "| a | ttft_s | SAME | +0.1% | -1.0% to +1.0% | 5 v 1 | 3.0% | – |" in folded


def test_json_has_rule_and_verdicts() -> None:
    found = json.loads(json.dumps(report.to_json(OUTCOME, ASKED, baseline="here")))
    assert (found["exit_code"], found["baseline"], found["rule"]["limit"]) == (3, "here", 0.02)
    assert found["judgements"][1]["verdict"] == "REGRESSED"
