from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from perfkit.backends import backend
from perfkit.cases import Case
from perfkit.inputs import models

if TYPE_CHECKING:
    from perfkit.backends.engine import Engine


def engine(case: Case) -> Engine:
    module = backend(case.backend)
    loaded = module.load(case, models.find(case.model), "cpu")
    return module.build(loaded, case)


def case(text: str) -> Case:
    return Case.parse(f"{text}/b2/p11/n5/tp1")


IDS = torch.arange(3, 25).reshape(2, 11)


@pytest.mark.parametrize("attention", ["nofmha", "fmha"])
def test_eager_gives_exactly_n_tokens_and_a_stamp_each(attention: str) -> None:
    stamps: list[int] = []
    made = engine(case(f"torch-eager/llama-tiny/fp32/{attention}"))
    tokens = made.generate(IDS, 5, lambda: stamps.append(1))
    assert tokens.shape == (2, 5)
    assert len(stamps) == 5


def test_the_compiled_loop_gives_eagers_tokens_and_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    eager = engine(case("torch-eager/llama-tiny/fp32/nofmha"))
    own = engine(case("torch-compile/llama-tiny/fp32/fmha"))
    assert own.notes["compiled"] is False
    assert "no C++ compiler" in str(own.notes["fallback"])
    expected = eager.generate(IDS, 5, lambda: None)
    stamps: list[int] = []
    assert torch.equal(own.generate(IDS, 5, lambda: stamps.append(1)), expected)
    assert len(stamps) == 5
    assert torch.equal(own.generate(IDS, 3, lambda: None), expected[:, :3])
    pairs = zip(
        own.forced_logits(IDS, expected[:, :4]),
        eager.forced_logits(IDS, expected[:, :4]),
        strict=True,
    )
    for ours, theirs in pairs:
        assert torch.allclose(ours, theirs, atol=1e-4)
    own.release()


@pytest.mark.parametrize("provider", ["math", "torch-flash"])
def test_any_provider_can_be_the_models_attention(provider: str) -> None:
    eager = engine(case("torch-eager/llama-tiny/fp32/nofmha"))
    tokens = eager.generate(IDS, 5, lambda: None)
    expected = list(eager.forced_logits(IDS, tokens[:, :4]))
    named = engine(case(f"torch-eager/llama-tiny/fp32/fmha={provider}"))
    assert named.notes["attention_decode"] == provider
    for ours, theirs in zip(named.forced_logits(IDS, tokens[:, :4]), expected, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)
    assert torch.equal(named.generate(IDS, 5, lambda: None), tokens)


@pytest.mark.thorough
def test_the_compiled_step_gives_eagers_tokens() -> None:
    own = engine(case("torch-compile/llama-tiny/fp32/fmha"))
    eager = engine(case("torch-eager/llama-tiny/fp32/nofmha"))
    assert torch.equal(own.generate(IDS, 5, lambda: None), eager.generate(IDS, 5, lambda: None))
    own.release()


@pytest.mark.parametrize(
    ("text", "device", "words"),
    [
        ("torch-eager/llama-tiny/fp16/fmha", "cpu", "use bf16"),
        ("torch-eager/llama-tiny/bf16/fmha=triton-decode", "cpu", "decode steps alone"),
        ("torch-eager/llama-tiny/bf16/fmha=triton-hopper", "cpu", "needs a Hopper GPU"),
        ("torch-compile/llama-tiny/bf16/fmha=math", "cpu", "use torch-eager"),
        ("torch-eager/llama-tiny/bf16/fmha=magic", "cpu", "unknown attention provider 'magic'"),
    ],
)
def test_what_cannot_run_says_why(text: str, device: str, words: str) -> None:
    asked = case(text)
    assert words in str(backend(asked.backend).unsupported(asked, device))
