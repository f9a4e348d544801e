from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.backends.tensorrt_llm.config import EngineConfig, for_case
from perfkit.cases import Case
from perfkit.errors import UsageError
from perfkit.paths import engine_configs

if TYPE_CHECKING:
    from pathlib import Path

CASE = Case.parse("trtllm-engine/llama2-7b/bf16/fmha/b8/p512/n64/tp1")
SHIPPED = {
    "llama2_7b_bf16", "llama2_7b_bf16_no_fmha", "llama2_7b_bf16_tp2", "llama2_7b_fp16",
    "llama2_7b_fp8", "llama2_13b_bf16", "tinyllama_1.1b_bf16",
}  # fmt: skip


def written(tmp_path: Path, **changes: Any) -> Path:
    table = json.loads(engine_configs()["llama2_7b_bf16"].read_text())
    table.update(changes)
    path = tmp_path / "engine.json"
    path.write_text(json.dumps({k: v for k, v in table.items() if v is not None}))
    return path


def test_every_config_that_comes_along_is_valid_and_says_all() -> None:
    assert set(engine_configs()) == SHIPPED
    for path in engine_configs().values():
        config = EngineConfig.read(path)
        assert set(json.loads(path.read_text())) == set(config.model_dump())
        assert config.max_num_tokens >= config.max_input_len


def test_the_two_arms_differ_in_fused_attention_alone() -> None:
    on, off = (
        EngineConfig.read(engine_configs()[name]).model_dump()
        for name in ("llama2_7b_bf16", "llama2_7b_bf16_no_fmha")
    )
    assert {key for key in on if on[key] != off[key]} == {"fmha"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"max_batch_siz": 8}, "unknown key 'max_batch_siz': did you mean 'max_batch_size'?"),
        ({"max_seq_len": None}, "max_seq_len is missing"),
        ({"max_batch_size": "8"}, "max_batch_size: "),
        ({"max_num_tokens": 1024}, "max_num_tokens 1024 is under max_input_len 2048"),
        ({"max_seq_len": 2048}, "leaves no new token"),
        ({"fmha": False, "paged_context_fmha": True}, "fmha false needs paged_context_fmha"),
        ({"fp8_context_fmha": True}, "fp8_context_fmha needs precision fp8"),
        ({"precision": "fp8"}, "needs a calibration"),
        (
            {"precision": "fp8", "weights": "dummy", "paged_context_fmha": True},
            "needs fp8_context_fmha too",
        ),
        ({"precision": "int4"}, "unknown precision 'int4'"),
        ({"model": "llama2-8b"}, "unknown model 'llama2-8b'"),
        ({"weights": "checkpoint"}, "needs a model local:NAME"),
        ({"weights": "real"}, "weights: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(UsageError) as caught:
        EngineConfig.read(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000])
def test_what_is_no_config_at_all(tmp_path: Path, text: str) -> None:
    path = tmp_path / "engine.json"
    path.write_text(text)
    with pytest.raises(UsageError):
        EngineConfig.read(path)


def test_a_case_fits_by_its_kind_and_its_sizes() -> None:
    config = EngineConfig.read(engine_configs()["llama2_7b_bf16"])
    assert config.fits(CASE)
    for change in ({"batch": 9}, {"prompt_len": 2049}, {"new_tokens": 2000}, {"tp": 2},
                   {"attention": "nofmha"}, {"precision": "fp16"}):  # fmt: skip
        assert not config.fits(CASE.but(**change)), change


def test_a_config_made_for_a_case_holds_it_exactly() -> None:
    config = for_case(CASE.but(batch=64, prompt_len=2048, new_tokens=128))
    assert config.fits(CASE.but(batch=64, prompt_len=2048, new_tokens=128))
    sizes = (config.max_batch_size, config.max_input_len, config.max_seq_len)
    assert sizes == (64, 2048, 2176)
    assert config.max_num_tokens == 8192
    assert for_case(CASE.but(precision="fp8")).weights == "dummy"


def test_a_key_names_all_that_makes_an_engine_another_one() -> None:
    config = EngineConfig.read(engine_configs()["llama2_7b_bf16"])
    asked = ("1.2.1", "NVIDIA H100", (9, 0), "seeded:1")
    key = config.key(*asked)
    assert key.startswith("llama2-7b-bf16-fmha-tp1-")
    others = {
        config.key("1.2.0", *asked[1:]),
        config.key(asked[0], "NVIDIA H200", *asked[2:]),
        config.key(*asked[:2], (8, 9), asked[3]),
        config.key(*asked[:3], "seeded:2"),
        config.model_copy(update={"max_num_tokens": 4096}).key(*asked),
        key,
    }
    assert len(others) == 6
