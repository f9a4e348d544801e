"""Named providers on a GPU that is only pretended: what is refused before anything is loaded."""

from __future__ import annotations

import pytest

from perfkit.backends.torch_common import unsupported
from perfkit.cases import Case


@pytest.fixture(autouse=True)
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda *_: (9, 0))


def case(text: str) -> Case:
    return Case.parse(f"torch-eager/{text}/tp1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("llama3-8b/bf16/fmha=torch-efficient/b1/p64/n4", "torch-efficient: has no grouped heads"),
        ("llama2-7b/fp32/fmha=triton-hopper/b1/p64/n4", "triton-hopper: computes in bf16 or fp16"),
        ("llama-tiny/bf16/fmha=triton-hopper/b1/p64/n4", "head_dim must be 64 or 128, got 16"),
    ],
)
def test_a_problem_that_the_provider_refuses_is_unsupported_not_a_crash(
    text: str, words: str
) -> None:
    assert words in str(unsupported(case(text), "cuda"))


@pytest.mark.parametrize(
    "text",
    [
        "llama2-7b/bf16/fmha=triton-hopper/b1/p64/n4",
        "llama3-8b/bf16/fmha=torch-cudnn/b8/p512/n4",
        "llama2-7b/bf16/fmha=torch-efficient/b1/p64/n4",
        # a prompt of one token is a decode step, which triton-decode computes at this head_dim
        "llama-tiny/bf16/fmha=triton-hopper/b1/p1/n4",
    ],
)
def test_what_the_provider_computes_is_not_refused(text: str) -> None:
    assert unsupported(case(text), "cuda") is None


def test_an_interpreted_kernel_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    asked = case("llama-tiny/fp32/fmha=triton/b1/p64/n4")
    assert "Triton's interpreter, which it runs in on a CPU, has no speed" in str(
        unsupported(asked, "cpu")
    )
