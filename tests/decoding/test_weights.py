from __future__ import annotations

import pytest
import torch

from perfkit.decoding.weights import fused, rope_tables
from perfkit.errors import UsageError
from perfkit.inputs import models
from tests.decoding.small import source


def test_the_models_own_weights_become_views_of_the_fused_ones() -> None:
    model = models.build(source("llama3-8b"), "fp32", "cpu")
    ids = torch.arange(12).reshape(2, 6)
    before = model(input_ids=ids).logits
    q, up = (model.model.layers[0].self_attn.q_proj.weight.clone(),
             model.model.layers[0].mlp.up_proj.weight.clone())  # fmt: skip
    weights = fused(model)
    layer = weights.layers[0]
    assert layer.qkv.values.shape == ((8 + 2 * 2) * 16, 128)
    assert torch.equal(layer.qkv.values[:128], q)
    assert torch.equal(layer.gate_up.values[72:], up)
    storage = layer.qkv.values.untyped_storage().data_ptr()
    attention = model.model.layers[0].self_attn
    for part in (attention.q_proj, attention.k_proj, attention.v_proj):
        assert part.weight.untyped_storage().data_ptr() == storage
    assert torch.equal(model(input_ids=ids).logits, before)


def test_a_second_call_finds_the_fused_weights_again() -> None:
    model = models.build(source("llama-tiny"), "bf16", "cpu")
    first, second = fused(model), fused(model)
    for a, b in zip(first.layers, second.layers, strict=True):
        assert a.qkv.values.data_ptr() == b.qkv.values.data_ptr()
        assert a.gate_up.values.data_ptr() == b.gate_up.values.data_ptr()
        assert torch.equal(a.qkv.values, b.qkv.values)


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_quantised_weights_are_fused_with_their_scales(kind: str) -> None:
    model = models.build(source("llama3-8b"), f"bf16-{kind}", "cpu")
    attention = model.model.layers[1].self_attn
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    expected = torch.cat([part.scale.clone() for part in parts])
    ids = torch.arange(12).reshape(2, 6)
    before = model(input_ids=ids).logits
    qkv = fused(model).layers[1].qkv
    assert qkv.values.element_size() == 1
    assert torch.equal(qkv.scale, expected)
    assert fused(model).layers[1].qkv.scale.data_ptr() == qkv.scale.data_ptr()
    assert torch.equal(model(input_ids=ids).logits, before)


def test_biases_and_other_activations_are_refused() -> None:
    model = models.build(source("llama-tiny"), "fp32", "cpu")
    model.config.hidden_act = "gelu"
    with pytest.raises(UsageError, match="activation 'gelu'"):
        fused(model)
    model.config.hidden_act = "silu"
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(210))
    with pytest.raises(UsageError, match=r"lm_head\.bias"):
        fused(model)


def test_the_rope_tables_are_the_models_own() -> None:
    model = models.build(source("llama3-8b"), "bf16", "cpu")
    cos, sin = rope_tables(model, 9)
    assert cos.shape == sin.shape == (9, 16)
    # Element 3 of 16 turns by position * theta ** (-2 * 3 / 16), and element 11 with it.
    angle = 5 * 500_000.0 ** (-6 / 16)
    assert cos[5, 3].item() == pytest.approx(torch.tensor(angle).cos().item(), abs=1e-6)
    assert sin[5, 11].item() == pytest.approx(torch.tensor(angle).sin().item(), abs=1e-6)
