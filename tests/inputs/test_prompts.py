from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.errors import UsageError
from perfkit.inputs.prompts import PromptSet, read
from perfkit.paths import shipped

if TYPE_CHECKING:
    from pathlib import Path

SET = PromptSet.make(read(shipped("data/prompts.txt")), None, seed=0)


def test_rows_have_exactly_p_ids_within_a_small_vocabulary() -> None:
    for length in (1, 2, 7, 512, 2048):
        (row,) = SET.rows([3], length).tolist()
        assert len(row) == length
        assert all(0 < token < 512 for token in row)


def test_rows_run_around_the_ring() -> None:
    made = PromptSet((5, 6, 7), "bytes")
    # The stride is int(3 * 0.618) = 1, which is coprime to 3.
    assert made.rows([0, 1, 2], 6).tolist() == [
        [1, 5, 6, 7, 5, 6],
        [1, 6, 7, 5, 6, 7],
        [1, 7, 5, 6, 7, 5],
    ]


def test_no_row_of_any_round_is_another() -> None:
    rows = {tuple(row) for k in range(8) for row in SET.batch(k, 32, 64).tolist()}
    assert len(rows) == 8 * 32


def test_agreement_prompts_take_turns_and_do_not_depend_on_the_batch() -> None:
    batch = SET.agreement_batch(5, 16).tolist()
    assert batch[0] == batch[2] == batch[4]
    assert batch[1] == batch[3] != batch[0]
    assert SET.agreement_batch(1, 16).tolist() == batch[:1]


def test_the_seed_decides() -> None:
    prompts = read(shipped("data/prompts.txt"))
    assert PromptSet.make(prompts, None, 0) == SET
    assert PromptSet.make(prompts, None, 1) != SET


def test_a_models_own_tokenizer_is_used() -> None:
    made = PromptSet.make(("abc",), lambda text: [len(text), 7], seed=0)
    assert made.ring == (3, 7)
    assert made.tokenizer == "model"


@pytest.mark.parametrize("text", ["", "\n%%\n\n%%\n"])
def test_an_empty_file_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="is empty: expected prompts separated by"):
        read(file)


def test_a_missing_or_binary_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the prompts file .*No such file"):
        read(tmp_path / "none.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot read"):
        read(tmp_path / "binary")
