from __future__ import annotations

import pytest
import torch

from perfkit.errors import UsageError
from perfkit.inputs import models
from perfkit.inputs.weight_only import WeightOnlyLinear, quantise, rounded


def test_int8_rows_by_hand() -> None:
    weight = torch.tensor([[127.0, -2.4, 0.5, 1.5], [0.0, 0.0, 0.0, 0.0], [-1.0, 0.5, 0.0, 0.25]])
    values, scale = rounded(weight, "int8")
    assert values.dtype == torch.int8
    # 2.4 is 2.40625 in bf16; ties go to even; the last row's step is 1 / 127.
    assert values.tolist() == [[127, -2, 0, 2], [0, 0, 0, 0], [-127, 64, 0, 32]]
    assert scale.tolist() == pytest.approx([1.0, 1.0, 1 / 127])


def test_fp8_rows_by_hand() -> None:
    values, scale = rounded(torch.tensor([[448.0, 17.0, -1.0625, 0.0]]), "fp8")
    assert values.dtype == torch.float8_e4m3fn
    # Three bits after the point: 17 lies between 16 and 18, as 1.0625 between 1 and 1.125.
    assert values.float().tolist() == [[448.0, 16.0, -1.0, 0.0]]
    assert scale.tolist() == [1.0]


@pytest.mark.parametrize(("kind", "worst"), [("int8", 1 / 254), ("fp8", 1 / 16)])
def test_no_weight_is_further_off_than_half_a_step(kind: str, worst: float) -> None:
    made = torch.Generator().manual_seed(1)
    weight = torch.randn(64, 96, generator=made).to(torch.bfloat16).float()
    values, scale = rounded(weight, kind)
    off = (values.float() * scale[:, None] - weight).abs()
    largest = weight.abs().amax(dim=1, keepdim=True)
    step = largest if kind == "int8" else weight.abs() + largest * 2**-14
    assert (off <= worst * 1.001 * step).all()


def test_every_precision_of_a_kind_holds_the_same_weights() -> None:
    source = models.find("llama-tiny")
    half, full = (models.build(source, precision, "cpu") for precision in ("bf16-fp8", "fp32-fp8"))
    for (name, a), b in zip(half.named_parameters(), full.parameters(), strict=True):
        assert torch.equal(a.float(), b.float()), name
    assert half.lm_head.weight.dtype == torch.bfloat16
    assert isinstance(half.model.layers[1].mlp.down_proj, WeightOnlyLinear)
    assert isinstance(half.lm_head, torch.nn.Linear)


def test_biases_are_refused() -> None:
    model = models.build(models.find("llama-tiny"), "bf16", "cpu")
    down = model.model.layers[1].mlp.down_proj
    down.bias = torch.nn.Parameter(torch.zeros(down.out_features))
    with pytest.raises(UsageError, match="down_proj has a bias"):
        quantise(model, "int8")


def test_a_layer_multiplies_by_what_it_holds() -> None:
    values, scale = rounded(torch.tensor([[1.0, -0.5], [4.0, 2.0]]), "int8")
    made = WeightOnlyLinear(values, scale)(torch.tensor([[2.0, 4.0]]))
    assert made.tolist()[0] == pytest.approx([2 - 4 * 64 / 127, 8 + 4 * 64 * 4 / 127], rel=1e-6)
