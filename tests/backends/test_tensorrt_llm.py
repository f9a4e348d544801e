from __future__ import annotations

import importlib.util

import pytest

from perfkit.backends import tensorrt_llm
from perfkit.cases import Case

CASE = Case.parse("tensorrt-llm/llama2-7b/bf16/fmha/b1/p128/n32/tp1")


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_llm") is not None, reason="TensorRT-LLM is here"
)
def test_without_tensorrt_llm_its_cells_say_so() -> None:
    assert tensorrt_llm.unsupported(CASE, "cuda") == (
        "needs TensorRT-LLM: no module tensorrt_llm found"
    )


def test_an_engine_is_built_for_an_attention_and_a_number_of_gpus() -> None:
    key = tensorrt_llm.load_key(CASE)
    assert key == tensorrt_llm.load_key(CASE.but(batch=8, new_tokens=128))
    assert key != tensorrt_llm.load_key(CASE.but(attention="nofmha"))
    assert key != tensorrt_llm.load_key(CASE.but(tp=2))
