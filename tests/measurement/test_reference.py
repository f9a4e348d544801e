from __future__ import annotations

import math

import pytest
import torch

from perfkit.backends.torch_eager import EagerEngine
from perfkit.cases import Case
from perfkit.inputs import models
from perfkit.inputs.prompts import PromptSet, read
from perfkit.measurement.reference import Reference, References, divergence_gap, relative_l2
from perfkit.measurement.slot import Slot
from perfkit.paths import shipped
from tests.measurement.faults import FAULTS, plant


def lab(device: str = "cpu") -> tuple[Slot, References]:
    slot = Slot(device, models.find)
    prompts = PromptSet.make(read(shipped("data/prompts.txt")), None, seed=0)
    return slot, References(slot, prompts, device)


def case(precision: str, batch: int = 3, prompt_len: int = 48, model: str = "llama-tiny") -> Case:
    return Case(
        backend="torch-eager", model=model, precision=precision, attention="fmha",
        batch=batch, prompt_len=prompt_len, new_tokens=6,
    )  # fmt: skip


def judge_right_and_wrong(asked: Case, slot: Slot, references: References) -> None:
    references.prepare(asked)
    engine = slot.engine(asked)
    ids = references.ids(asked.batch, asked.prompt_len)
    right = references.check(asked, engine, engine.generate(ids, 6, lambda: None))
    assert right.status == "agrees", right
    loaded = slot._loaded
    assert loaded is not None
    for fault in FAULTS:
        wrong = EagerEngine(loaded, plant(fault), {})
        judged = references.check(asked, wrong, wrong.generate(ids, 6, lambda: None))
        assert judged.status == "diverged", (fault, judged)


# fp16 is checked here although no CPU cell runs it: at this size it is merely slow.
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "bf16-int8", "bf16-fp8"])
@pytest.mark.parametrize("prompt_len", [9, 48])
def test_a_right_arm_agrees_and_every_planted_fault_diverges(
    precision: str, prompt_len: int
) -> None:
    judge_right_and_wrong(case(precision, prompt_len=prompt_len), *lab())


@pytest.mark.gpu(min_mem_gib=40)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "bf16-int8", "bf16-fp8"])
def test_the_same_holds_at_full_size(precision: str) -> None:
    judge_right_and_wrong(case(precision, prompt_len=128, model="llama2-7b"), *lab("cuda"))


def test_a_wrong_row_is_not_hidden_by_right_ones() -> None:
    truth = [torch.ones(2, 10)]
    rows = torch.ones(5, 10)
    assert relative_l2([rows], truth) == 0
    rows[3] += 0.5
    assert relative_l2([rows], truth) == pytest.approx(0.5)


def test_relative_l2_by_hand_over_steps() -> None:
    truth = [torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.0, 5.0], [1.0, 0.0]])]
    steps = [torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 6.0]])]
    assert relative_l2(steps, truth) == pytest.approx((1 / 50) ** 0.5)


def test_cells_that_differ_in_new_tokens_share_a_reference_of_sixteen() -> None:
    _, references = lab()
    plan = tuple(case("bf16").but(new_tokens=new) for new in (16, 32, 128))
    references.plan = plan
    for asked in plan:
        references.prepare(asked)
    (reference,) = references._references.values()
    assert reference.tokens.shape == (2, 16)
    assert len(reference.logits) == 16


def test_the_plans_shapes_share_one_load_of_the_reference() -> None:
    slot, references = lab()
    plan = (case("bf16"), case("bf16", prompt_len=9))
    references.plan = plan
    references.prepare(plan[0])
    assert {shape.prompt_len for shape in references._references} == {48, 9}
    loads = slot.load_s
    references.prepare(plan[1])
    assert slot.load_s == loads


def test_a_reference_of_other_weights_is_not_made_with_it() -> None:
    _, references = lab()
    references.plan = (case("bf16"), case("bf16-fp8", prompt_len=9), case("fp16", prompt_len=7))
    references.prepare(references.plan[0])
    assert {(one.precision, one.prompt_len) for one in references._references} == {
        ("fp32", 48), ("fp32", 7)
    }  # fmt: skip


def test_the_gap_of_a_free_run_by_hand() -> None:
    """Token 2 for 0 at the second step of the second prompt: logits 3, 1, -1, rms sqrt(11/3)."""
    logits = (
        torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
        torch.tensor([[5.0, 0.0, 0.0], [3.0, 1.0, -1.0]]),
    )
    reference = Reference(torch.tensor([[0, 0], [0, 0]]), logits)
    same = torch.zeros((4, 2), dtype=torch.int64)
    assert divergence_gap(same, reference) is None
    astray = same.clone()
    astray[3, 1] = 2
    assert divergence_gap(astray, reference) == pytest.approx(4 / math.sqrt(11 / 3))
    astray[1, 1] = 1
    assert divergence_gap(astray, reference) == pytest.approx(4 / math.sqrt(11 / 3))
