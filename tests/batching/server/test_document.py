from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from perfkit.batching.policies import Dynamic, OneByOne, Policy, Static
from perfkit.batching.server.batcher import Answer
from perfkit.batching.server.document import SCHEMA, Setup, answers, read, rows
from perfkit.cases import Case
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

CASE = Case.parse("torch-eager/llama-tiny/fp32/fmha/b4/p32/n8/tp1")


@pytest.mark.parametrize(
    "policy", [Dynamic(4, 0.02, (2,), max_queue=3, timeout_s=0.5), Static(4), OneByOne()]
)
def test_a_setup_comes_back_from_json(policy: Policy) -> None:
    setup = Setup(CASE, policy, 200, 20, 7, "cpu")
    assert Setup.from_json(json.loads(json.dumps(setup.to_json()))) == setup


def test_answers_come_back_from_json_and_what_is_missing_is_null() -> None:
    served = Answer(1.0, 1.5, 2.0, 3.0, 0, 1, "served")
    refused = Answer(1.0, math.nan, math.nan, 1.0, -1, 0, "queue_full")
    columns = rows([served, refused])
    assert columns["dispatch_s"] == [1.5, None]
    first, second = answers(json.loads(json.dumps(columns)))
    assert first == served
    assert math.isnan(second.dispatch_s)
    assert second.outcome == "queue_full"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no file of perfkit batching validate"),
        ("[]", "is no file of perfkit batching validate"),
        ('{"perfkit_batching_validation": 1}', "KeyError('setup')"),
    ],
)
def test_what_is_no_validation_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "f.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read(path)
    assert words in str(caught.value)
    assert "f.json" in str(caught.value)


def test_columns_of_other_lengths_and_another_schema_are_refused(tmp_path: Path) -> None:
    columns = rows([Answer(1.0, 1.5, 2.0, 3.0, 0, 1, "served")])
    good = {
        "perfkit_batching_validation": SCHEMA,
        "setup": Setup(CASE, Static(4), 1, 1, 0, "cpu").to_json(),
        "loads": [{"rows": columns, "calibration": columns}],
    }
    path = tmp_path / "f.json"
    path.write_text(json.dumps(good), encoding="utf-8")
    assert read(path)[1].policy == Static(4)
    path.write_text(
        json.dumps({**good, "loads": [{"rows": columns, "calibration": {**columns, "size": []}}]})
    )
    with pytest.raises(UsageError, match="is no file of"):
        read(path)
    path.write_text(json.dumps({**good, "perfkit_batching_validation": 9}))
    with pytest.raises(UsageError, match="has schema 9, expected 1"):
        read(path)
