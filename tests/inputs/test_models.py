from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from perfkit.architectures import ARCHITECTURES
from perfkit.errors import UsageError
from perfkit.inputs import models

if TYPE_CHECKING:
    from pathlib import Path

TINY = models.find("llama-tiny")


def test_random_weights_are_seeded_and_none_is_zero() -> None:
    one, two = (models.build(TINY, "fp32", "cpu") for _ in range(2))
    other = models.build(models.find("llama-tiny", seed=1), "fp32", "cpu")
    for name, weight in one.named_parameters():
        assert weight.abs().min() >= 0
        assert (weight != 0).float().mean() > 0.99, name
        assert torch.equal(weight, two.get_parameter(name))
        assert not torch.equal(weight, other.get_parameter(name))


def test_every_precision_holds_the_same_values() -> None:
    single, half = (models.build(TINY, kind, "cpu") for kind in ("fp32", "bf16"))
    for name, weight in single.named_parameters():
        assert half.get_parameter(name).dtype == torch.bfloat16
        assert torch.equal(weight, half.get_parameter(name).float())


def test_the_built_model_has_the_architectures_size() -> None:
    model = models.build(TINY, "bf16", "cpu")
    assert sum(weight.numel() for weight in model.parameters()) == TINY.arch.params


def test_a_local_folder_is_read_and_gives_its_own_logits(tmp_path: Path) -> None:
    folder = tmp_path / "My Model"
    made = models.build(TINY, "fp32", "cpu")
    made.save_pretrained(folder)
    source = models.local(folder)
    assert source.name == "local:My-Model"
    assert source.arch.hidden == TINY.arch.hidden
    assert source.arch.kv_heads == TINY.arch.kv_heads
    ids = torch.tensor([[1, 5, 9]])
    with torch.no_grad():
        assert torch.equal(models.build(source, "fp32", "cpu")(ids).logits, made(ids).logits)
    assert models.tokenizer(source) is None


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "expected a config.json"),
        ({"config.json": "{}"}, "holds no .*safetensors"),
        ({"config.json": "{", "a.safetensors": ""}, "not a LLaMA config"),
        ({"config.json": '{"model_type": "gpt2"}', "a.safetensors": ""}, "expected 'llama'"),
        ({"config.json": '{"model_type": "llama"}', "a.safetensors": ""}, "not a LLaMA config"),
        ({"config.json": "[1]", "a.safetensors": ""}, "not a LLaMA config"),
    ],
)
def test_a_folder_without_a_model_is_said(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=words):
        models.local(tmp_path)


def test_rope_theta_is_read_old_and_new(tmp_path: Path) -> None:
    base = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 32,
        "max_position_embeddings": 16,
    }  # fmt: skip
    (tmp_path / "a.safetensors").touch()
    for extra in ({"rope_theta": 5e5}, {"rope_parameters": {"rope_theta": 5e5}}):
        (tmp_path / "config.json").write_text(json.dumps(base | extra), encoding="utf-8")
        assert models.local(tmp_path).arch.rope_theta == 5e5


def test_an_unknown_name_is_said() -> None:
    with pytest.raises(UsageError, match="did you mean 'llama3-8b'"):
        models.find("llama3-8")
    with pytest.raises(UsageError, match="give it with --model PATH"):
        models.find("local:x")
    assert set(ARCHITECTURES) >= {"llama-tiny", "tinyllama-1.1b", "llama2-7b", "llama2-13b"}
