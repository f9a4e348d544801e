from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perfkit.backends import trtllm_engine, trtllm_pytorch
from perfkit.cases import Case
from perfkit.measurement.cell import measure
from tests.measurement.fake_backend import fake_lab
from tests.measurement.test_cell import rounds_for
from tests.tensorrt_llm.contract import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.cpu, pytest.mark.trt_contract]
CASE = Case.parse("trtllm-engine/llama-tiny/bf16/fmha/b2/p24/n6/tp1")
# Those near a neighbour that runs too are left to CI.
_LATER = {"0.17.0.dev2024121700", "1.0.0rc4", "1.1.0rc1"}
EVERY = [
    pytest.param(version, marks=pytest.mark.slow) if version in _LATER else version
    for version in VERSIONS
]
WITH_PYTORCH = EVERY[2:]


def run(case: Case, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Measure as `pytest -m trt` does, on a lab without a GPU: only that need is waived."""
    for module in (trtllm_engine, trtllm_pytorch):
        real = module.unsupported
        monkeypatch.setattr(
            module, "unsupported", lambda case, _device, real=real: real(case, "cuda")
        )
    lab = fake_lab(rounds=2)
    return measure(case, lab, rounds_for(lab.clock))


@pytest.mark.parametrize("version", EVERY)
def test_engine_build_generate_stream_and_memory(
    version: str, trtllm: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trtllm(version)
    result = run(CASE, monkeypatch)
    assert result.verdict in {"ok", "unstable", "clock_mismatch"}, result.reason
    told = result.details
    assert told["engine"]["version"] == version
    assert told["engine"]["engine_cached"] is False
    assert len(told["samples"]["itl_s"][0]) == 5
    assert told["memory"]["weights_bytes"] == 6214 * 2**20
    assert told["memory"]["kv_tokens"] == 2 * 2 * 32
    assert told["attention"]["prefill"]["class"] == "trtllm-fmha"
    own = version == "1.2.0rc2"
    assert told["engine"]["times"]["first_token"] == (
        "request metrics" if own else "client, streaming"
    )
    assert told["agreement"]["status"] == ("agrees" if own else "unchecked"), told["agreement"]


@pytest.mark.parametrize("version", WITH_PYTORCH)
def test_pytorch_backend(
    version: str, trtllm: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trtllm(version)
    result = run(CASE.but(backend="trtllm-pytorch"), monkeypatch)
    assert result.verdict in {"ok", "unstable", "clock_mismatch"}, result.reason
