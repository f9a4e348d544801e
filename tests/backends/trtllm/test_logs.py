from __future__ import annotations

from perfkit.backends.tensorrt_llm import logs

GIB, MIB = 2**30, 2**20
ENGINE = """\
[TensorRT-LLM][INFO] Loaded engine size: 6214 MiB
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 928.77 MiB for execution context memory.
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 1.50 MB GPU memory for runtime buffers.
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 2.25 KB GPU memory for decoder.
[TensorRT-LLM][INFO] Number of tokens per block: 64.
[TensorRT-LLM][INFO] [MemUsageChange] Allocated 62.99 GiB for max tokens in paged KV cache (294848).
"""


def test_an_engines_log_names_weights_workspace_and_kv() -> None:
    found = logs.memory(ENGINE, 1)
    assert found["weights_bytes"] == 6214 * MIB
    assert found["workspace_bytes"] == round(928.77 * MIB) + round(1.5 * MIB) + round(2.25 * 1024)
    assert found["kv_bytes"] == round(62.99 * GIB)
    assert found["kv_tokens"] == 294848


def test_the_ranks_of_one_engine_add_up() -> None:
    assert logs.memory(ENGINE + ENGINE, 2)["weights_bytes"] == 2 * 6214 * MIB


def test_ranks_that_stay_mute_leave_no_sum() -> None:
    assert logs.memory(ENGINE, 2)["weights_bytes"] == "the log names the engine of 1 of 2 ranks"
    assert "of 1 of 2 ranks" in str(logs.memory(ENGINE, 2)["workspace_bytes"])


def test_a_pool_too_small_for_two_decimals_is_still_one() -> None:
    log = "[MemUsageChange] Allocated 0.00 GiB for max tokens in paged KV cache (64).\n"
    assert logs.memory(log, 1)["kv_bytes"] == 0
    assert logs.memory(log, 1)["kv_tokens"] == 64


def test_the_cause_of_an_end_is_found_above_its_last_words() -> None:
    log = (
        "[TensorRT-LLM][ERROR] Assertion failed: x\n"
        "CUDA runtime error in cudaMalloc: out of memory\nmpirun noticed something\nAborted\n"
    )
    assert logs.failure(log) == "CUDA runtime error in cudaMalloc: out of memory"
    assert logs.failure("[TensorRT-LLM][ERROR] bad\nAborted\n") == "[TensorRT-LLM][ERROR] bad"
    assert logs.failure("Aborted\n") is None


def test_a_pool_that_was_resized_counts_at_its_last_size() -> None:
    log = ENGINE + "[TensorRT-LLM][INFO] Final KV cache size after resize: 0.56 GiB\n"
    assert logs.memory(log, 1)["kv_bytes"] == round(0.56 * GIB)


def test_a_log_without_sizes_says_what_it_lacks() -> None:
    found = logs.memory("[TensorRT-LLM] TensorRT-LLM version: 0.12.0\n", 1)
    assert found["weights_bytes"] == "the log names no engine"
    assert all(isinstance(value, str) for value in found.values())
    assert logs.kv_tokens("") is None


def test_unfused_attention_is_seen_in_the_words_of_several_versions() -> None:
    line = "[TensorRT-LLM][WARNING] Fall back to unfused MHA for dtype = bf16 in sm_75."
    assert logs.fell_back(ENGINE + line + "\n") == line.removeprefix("[TensorRT-LLM][WARNING] ")
    assert logs.fell_back(ENGINE) is None


def test_an_engine_of_another_version_or_gpu_is_seen() -> None:
    tag = "Version tag does not match. Current Version: 228, Serialized Engine Version: 237"
    assert logs.mismatch(f"[E] 6: {tag}\n") == tag
    assert "expecting library version" in str(
        logs.mismatch("is not compatible, expecting library version 9.2.0.5 got 9.3.0.1\n")
    )
    assert logs.mismatch(ENGINE) is None
