from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit import trt_engines
from perfkit.backends.tensorrt_llm.config import EngineConfig
from perfkit.backends.tensorrt_llm.driving import CONFIGS, config_for
from perfkit.paths import engine_configs
from perfkit.plan import load_plan

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TP2 = engine_configs()["llama2_7b_bf16_tp2"]


def test_a_configs_cells_are_those_its_engine_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONFIGS, "")
    name = trt_engines.cells_of_config(TP2, tmp_path / "m.toml")
    ids = [cell.case.id for cell in load_plan([name])]
    assert ids == [
        f"trtllm-engine/llama2-7b/bf16/fmha/b{batch}/p{prompt}/n64/tp2"
        for batch in (1, 8)
        for prompt in (128, 512)
    ]
    assert trt_engines.result_name(TP2) == "metrics_trtllm_tp2.json"
    assert trt_engines.result_name(None) == "metrics_trtllm.json"


def test_the_config_that_was_named_comes_before_those_that_come_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = EngineConfig.read(TP2)
    case = trt_engines.largest(shipped, "here")
    assert config_for(case) == shipped
    mine = shipped.model_copy(update={"max_num_tokens": 16384})
    (tmp_path / "mine.json").write_text(mine.model_dump_json())
    monkeypatch.setenv(CONFIGS, str(tmp_path / "mine.json"))
    assert config_for(case) == mine
    assert config_for(case.but(batch=64)).max_batch_size == 64


def test_an_engine_too_small_for_the_matrix_has_its_largest_cell() -> None:
    tiny = EngineConfig.read(TP2).model_copy(
        update={"max_input_len": 64, "max_seq_len": 96, "max_batch_size": 2}
    )
    (case,) = trt_engines.cases(tiny, "here")
    assert case.id == "trtllm-engine/llama2-7b/bf16/fmha/b2/p64/n32/tp2"
