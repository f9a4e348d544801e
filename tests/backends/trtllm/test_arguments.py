from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perfkit.backends.tensorrt_llm import arguments
from perfkit.backends.tensorrt_llm.config import EngineConfig
from perfkit.backends.tensorrt_llm.versions import Api, engine_api, pytorch_api
from perfkit.paths import engine_configs
from tests.tensorrt_llm.contract import CONTRACT, USED, VERSIONS, accepted, table

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = [pytest.mark.cpu, pytest.mark.trt_contract]


def config(name: str = "llama2_7b_bf16") -> EngineConfig:
    return EngineConfig.read(engine_configs()[name])


def api(version: str) -> Api:
    found = engine_api(version)
    assert isinstance(found, Api)
    return found


def unknown(version: str, what: str, names: Iterable[str]) -> set[str]:
    return set(names) - set(accepted(version, what).names)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", sorted(engine_configs()))
def test_every_keyword_is_one_that_the_version_knows(version: str, name: str) -> None:
    asked = api(version)
    build = arguments.to_build(asked, config(name), "/m", logits=True)
    run = arguments.to_run(asked, config(name), "/e", 512)
    for made in (build, run):
        extra = {"kv_cache_config"} | ({"build_config", "quant_config"} if made.build else set())
        assert not unknown(version, "TrtLlmArgs", set(made.llm) | extra)
        assert not unknown(version, "KvCacheConfig", made.kv)
    assert not unknown(version, "BuildConfig", build.build or {})
    assert not unknown(version, "PluginConfig", build.plugin or {})
    assert not unknown(version, "QuantConfig", build.quant or {})
    assert not unknown(version, "QuantAlgo", (build.quant or {}).values())
    assert not unknown(version, "SamplingParams", arguments.sampling(8))


@pytest.mark.parametrize("version", [v for v in VERSIONS if v.startswith("1.")])
def test_the_pytorch_backend_gets_none_of_the_engine_apis_keywords(version: str) -> None:
    found = pytorch_api(version)
    assert isinstance(found, Api)
    made = arguments.to_serve(found, config(), "/m", 512)
    assert not unknown(version, "TorchLlmArgs", {*made.llm, "kv_cache_config"})
    assert made.build is made.plugin is made.quant is None


def test_all_four_sizes_and_the_arm_are_always_set() -> None:
    off = arguments.to_build(api("1.2.0rc2"), config("llama2_7b_bf16_no_fmha"), "/m", logits=False)
    assert off.build == {
        "max_batch_size": 8, "max_input_len": 2048, "max_seq_len": 2176, "max_num_tokens": 8192,
        "gather_context_logits": False,
    }  # fmt: skip
    plugin = off.plugin or {}
    assert plugin["context_fmha"] is False
    assert plugin["use_paged_context_fmha"] is plugin["use_fp8_context_fmha"] is False
    assert off.kv["enable_block_reuse"] is off.llm["enable_chunked_prefill"] is False


def test_fp8_is_quantised_from_dummy_weights() -> None:
    made = arguments.to_build(api("0.16.0"), config("llama2_7b_fp8"), "/m", logits=False)
    assert made.quant == {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    assert made.llm["load_format"] == "dummy"
    assert made.llm["dtype"] == "bfloat16"


def test_the_kv_pool_is_whole_blocks_and_one_to_spare() -> None:
    assert arguments.kv_tokens(api("0.16.0"), 8, 576) == 8 * (18 + 1) * 32
    assert arguments.kv_tokens(api("0.16.0"), 1, 577) == (19 + 1) * 32
    served = pytorch_api("1.0.0")
    assert isinstance(served, Api)
    # Its block cannot be set there, and may be 64.
    assert arguments.kv_tokens(served, 1, 577) == (10 + 1) * 64


def built_as(made: arguments.Arguments) -> dict[str, Any]:
    """Return the config.json of an engine that is what was asked."""
    return {
        "pretrained_config": {
            "mapping": {"tp_size": made.llm["tensor_parallel_size"]},
            "dtype": made.llm["dtype"],
            "quantization": made.quant or {"quant_algo": None, "kv_cache_quant_algo": None},
        },
        "build_config": {**(made.build or {}), "plugin_config": dict(made.plugin or {})},
    }


def test_what_was_built_is_held_against_what_was_asked() -> None:
    asked = arguments.to_build(api("1.2.0rc2"), config(), "/m", logits=False)
    built = built_as(asked)
    assert arguments.differences(asked, built) == []
    built["build_config"]["plugin_config"] |= {
        "use_paged_context_fmha": True, "gemm_plugin": "bfloat16",
    }  # fmt: skip
    built["build_config"]["max_num_tokens"] = 2048
    assert arguments.differences(asked, built) == [
        "max_num_tokens asked 8192, built 2048",
        "use_paged_context_fmha asked False, built True",
    ]


def test_quantisation_that_was_dropped_or_slipped_in_is_seen() -> None:
    fp8 = arguments.to_build(api("1.2.0rc2"), config("llama2_7b_fp8"), "/m", logits=False)
    plain = arguments.to_build(api("1.2.0rc2"), config(), "/m", logits=False)
    assert arguments.differences(fp8, built_as(fp8)) == []
    dropped = built_as(fp8)
    dropped["pretrained_config"]["quantization"] = {}
    assert len(arguments.differences(fp8, dropped)) == 2
    slipped = built_as(plain)
    slipped["pretrained_config"]["quantization"] = fp8.quant
    assert len(arguments.differences(plain, slipped)) == 2


def test_the_contract_is_named_and_its_gaps_stand_in_the_docs() -> None:
    assert set(VERSIONS) == set(CONTRACT)
    assert len(VERSIONS) == 5
    assert set(USED) >= {"SamplingParams", "BuildConfig", "PluginConfig", "KvCacheConfig"}
    from perfkit.paths import shipped

    docs = shipped("docs/tensorrt-llm.md").read_text(encoding="utf-8")
    assert table() in docs, "python -m tests.tensorrt_llm.contract prints the table"
