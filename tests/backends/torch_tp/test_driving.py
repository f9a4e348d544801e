from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from perfkit.architectures import ARCHITECTURES
from perfkit.backends import backend
from perfkit.backends.engine import ApartError
from perfkit.backends.torch_tp import driving
from perfkit.cases import Case
from perfkit.inputs.models import ModelSource
from perfkit.machine.identity import Gpu

if TYPE_CHECKING:
    from pathlib import Path

TINY = ARCHITECTURES["llama-tiny"]
ONE_GPU = (Gpu(0, "GPU-0", "Some GPU", 80 * 2**30, (9, 0)),)


def case(text: str, tp: int) -> Case:
    return Case.parse(f"{text}/b2/p11/n5/tp{tp}")


def refused(text: str, tp: int, device: str) -> str | None:
    asked = case(text, tp)
    return backend(asked.backend).unsupported(asked, device)


@pytest.mark.parametrize("text", ["llama-tiny/fp32/nofmha", "llama2-13b/bf16/fmha"])
def test_gloo_runs_what_divides(text: str) -> None:
    assert refused(f"torch-eager/{text}", 2, "cpu") is None


@pytest.mark.parametrize(
    ("text", "tp", "words"),
    [
        ("torch-eager/llama-tiny/fp32/nofmha", 3, "tp 3 does not divide the model's heads, 8"),
        ("torch-eager/llama-tiny/fp32/nofmha", 8, "tp 8 does not divide the model's kv_heads, 4"),
        ("torch-eager/llama-tiny/fp16/nofmha", 2, "fp16 on a CPU has no fast kernels"),
        ("torch-eager/llama-tiny/fp32/fmha=math", 2, "at tp 2 use nofmha or fmha, not fmha=math"),
        ("torch-compile/llama-tiny/fp32/fmha", 2, "for tp 2 use torch-eager"),
    ],
)
def test_what_several_ranks_cannot_run_says_why(text: str, tp: int, words: str) -> None:
    assert words in str(refused(text, tp, "cpu"))


def test_too_few_gpus_say_need_and_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "gpus", lambda: ONE_GPU)
    assert refused("torch-eager/llama2-7b/bf16/fmha", 2, "cuda") == (
        "tp 2 needs 2 GPUs, found Some GPU (80 GiB, capability 9.0)"
    )


def test_enough_gpus_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "gpus", lambda: ONE_GPU * 2)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda *_: (9, 0))
    assert refused("torch-eager/llama2-7b/bf16/fmha", 2, "cuda") is None


def test_a_local_model_is_asked_once_its_shape_is_known(tmp_path: Path) -> None:
    source = ModelSource("local:odd", replace(TINY, vocab=513), tmp_path)
    asked = case("torch-eager/local:odd/fp32/nofmha", 2)
    assert backend("torch-eager").unsupported(asked, "cpu") is None
    with pytest.raises(ApartError, match="tp 2 does not divide the model's vocab, 513") as raised:
        backend("torch-eager").load(asked, source, "cpu")
    assert raised.value.verdict == "unsupported"


def test_arms_of_another_number_of_ranks_share_no_model() -> None:
    module = backend("torch-eager")
    keys = [module.load_key(case("torch-eager/llama-tiny/fp32/nofmha", tp)) for tp in (1, 2)]
    assert keys[0] != keys[1]
