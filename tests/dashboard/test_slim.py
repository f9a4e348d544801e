from __future__ import annotations

import copy
from typing import Any

import pytest

from perfkit.dashboard.slim import slim
from perfkit.errors import UsageError
from perfkit.reporting import compare
from perfkit.results.ablation import ablate
from tests.dashboard.files import run

FMHA = "torch-eager/llama2-7b/bf16/fmha/b8/p512/n64/tp1"


def test_what_is_compared_and_ablated_is_as_of_the_whole_documents() -> None:
    whole = [run(rate=100.0), run(rate=130.0)]
    thin = [slim(one, "perfkit") for one in whole]
    assert compare.compare(*thin) == compare.compare(*whole)
    assert ablate(thin) == ablate(whole)
    changes = [pair.changes["output_tokens_per_s"].value for pair in ablate(thin)]
    assert changes == [pytest.approx(115 / 80 - 1)]


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("metrics", "ttft_s"), "fast", f"ttft_s of its cell {FMHA} is no finite number"),
        (("metrics", "ttft_s"), float("nan"), "is no finite number"),
        (("metrics", "ttft_s"), True, "is no finite number"),
        (("case", "batch"), "8", f"batch of the case of its cell {FMHA} is no whole number from 1"),
        (("case", "tp"), 0, "tp of the case"),
        (("case", "batch"), 10**400, "batch of the case"),
        (("metrics", "e2e_s"), 10**400, "is no finite number"),
        (("case", "model"), None, "model of the case"),
        (("attention",), [1], "its attention is no object"),
        (("attention", "prefill"), 3, "its prefill is no object"),
    ],
)
def test_a_cell_that_readers_would_stumble_over_is_damaged(
    keys: tuple[str, ...], value: object, words: str
) -> None:
    document = run()
    place: Any = document["perfkit"]["cells"][FMHA]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    with pytest.raises(UsageError, match="is damaged") as caught:
        slim(document, "perfkit")
    assert words in str(caught.value)


def test_the_document_given_is_left_as_it_was() -> None:
    document = run()
    before = copy.deepcopy(document)
    slim(document, "perfkit")
    assert document == before
