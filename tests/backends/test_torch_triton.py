"""torch-triton where there is no GPU: the same weights in plain torch, and the notes say so."""

from __future__ import annotations

import pytest
import torch

from perfkit.backends import backend, torch_compile, torch_eager, torch_triton
from perfkit.cases import Case
from tests.decoding.small import HEADS, source


def case(text: str) -> Case:
    return Case.parse(f"torch-triton/{text}/tp1")


def drawn(asked: Case) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(3)
    ids = torch.randint(0, 210, (asked.batch, asked.prompt_len), generator=made)
    return ids, torch.randint(0, 210, (asked.batch, asked.new_tokens - 1), generator=made)


def check(asked: Case) -> None:
    loaded = torch_triton.load(asked, source(asked.model), "cpu")
    eager = torch_eager.build(loaded, asked.but(backend="torch-eager", attention="nofmha"))
    ids, forced = drawn(asked)
    expected = list(eager.forced_logits(ids, forced))
    tokens = eager.generate(ids, asked.new_tokens, lambda: None)
    ours = torch_triton.build(loaded, asked)
    for mine, theirs in zip(ours.forced_logits(ids, forced), expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)
    stamps: list[int] = []
    assert torch.equal(ours.generate(ids, asked.new_tokens, lambda: stamps.append(1)), tokens)
    assert len(stamps) == asked.new_tokens
    ours.release()


@pytest.mark.parametrize("model", HEADS)
@pytest.mark.parametrize("shape", ["b3/p7/n1", "b5/p13/n3"])
def test_every_named_model_gives_eagers_logits_and_tokens(model: str, shape: str) -> None:
    check(case(f"{model}/fp32/fmha/{shape}"))


def test_a_prompt_up_to_the_last_position() -> None:
    check(case("llama-tiny/fp32/fmha/b1/p1023/n1"))
    check(case("llama-tiny/fp32/fmha/b1/p1022/n2"))


def test_two_cases_one_after_the_other_share_weights_and_nothing_else() -> None:
    first, second = case("llama2-7b/fp32/fmha/b2/p9/n3"), case("llama2-7b/fp32/fmha/b1/p21/n5")
    loaded = torch_triton.load(first, source("llama2-7b"), "cpu")
    engines = [torch_triton.build(loaded, asked) for asked in (first, second)]
    before = engines[0].generate(drawn(first)[0], 3, lambda: None)
    check(second)
    engines[1].generate(drawn(second)[0], 5, lambda: None)
    assert torch.equal(engines[0].generate(drawn(first)[0], 3, lambda: None), before)
    compiled = torch_compile.CompiledEngine(loaded, first.but(backend="torch-compile"), "not here")
    assert torch.equal(compiled.generate(drawn(first)[0], 3, lambda: None), before)


def test_the_notes_name_the_fallback() -> None:
    asked = case("llama-tiny/fp32/fmha/b1/p5/n2")
    notes = torch_triton.build(torch_triton.load(asked, source("llama-tiny"), "cpu"), asked).notes
    assert notes["kernels"] is None
    assert notes["cuda_graphs"] is False
    assert "plain torch" in str(notes["fallback"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("llama-tiny/bf16/nofmha/b1/p5/n2", "fused attention of its own alone: for nofmha use"),
        ("llama-tiny/bf16/fmha=math/b1/p5/n2", "for fmha=math use torch-eager"),
        ("llama-tiny/bf16/fmha/b33/p5/n2", "up to 32 rows, got batch 33"),
        ("llama-tiny/fp8/fmha/b1/p5/n2", "bf16-fp8 has fp8 weights alone"),
        ("llama-tiny/bf16-int8/fmha=math/b1/p5/n2", "for fmha=math use torch-eager"),
        ("llama-tiny/fp16/fmha/b1/p5/n2", "use bf16"),
    ],
)
def test_what_it_cannot_run_says_why(text: str, words: str) -> None:
    asked = case(text)
    assert words in str(backend(asked.backend).unsupported(asked, "cpu"))


def test_another_gpu_than_hopper_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda *_: (8, 0))
    asked = case("llama2-7b/bf16/fmha/b1/p5/n2")
    assert "needs compute capability 9.0 (Hopper), found 8.0" in str(
        torch_triton.unsupported(asked, "cuda")
    )
