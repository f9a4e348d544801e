"""What trtllm-bench writes, made up in its form: the keys of reporting.py, about 1.2.0rc2.

20 requests of 512 and 128 tokens, four at a time in 5 s: 20 x 128 / 5 = 512 token/s; a request took
990 ms on average, so 20 x 0.99 / 5 = 3.96 ran at once.
"""

from __future__ import annotations

from typing import Any


def percentiles(p50: float, p90: float, p99: float) -> dict[str, float]:
    return {
        "p50": p50, "p90": p90, "p95": p99, "p99": p99, "minimum": p50 / 2, "maximum": p99,
        "average": p50,
    }  # fmt: skip


def lengths(tokens: float) -> dict[str, float]:
    return dict.fromkeys(("p50", "p90", "p95", "p99", "minimum", "maximum", "average"), tokens)


def report(backend: str = "TRT", *, streaming: bool = True) -> dict[str, Any]:
    made: dict[str, Any] = {
        "engine": {
            "model": "meta-llama/Llama-2-7b-hf", "model_path": "None",
            "engine_dir": "/somewhere/engine", "version": "1.2.0rc2", "backend": backend,
            "dtype": "float16", "kv_cache_dtype": None, "quantization": None,
        },
        "world_info": {
            "tp_size": 1, "pp_size": 1, "ep_size": None, "world_size": 1, "max_batch_size": 4,
            "max_num_tokens": 2048, "scheduling_policy": "GUARANTEED_NO_EVICT",
            "kv_cache_percentage": 0.9, "issue_rate": 1.2e7,
        },
        "request_info": {
            "num_requests": 20, "avg_num_concurrent_requests": 3.96,
            "avg_input_length": 512.0, "avg_output_length": 128.0,
        },
        "performance": {
            "total_latency_ms": 5000.0, "avg_request_latency_ms": 990.0,
            "request_throughput_req_s": 4.0, "system_output_throughput_tok_s": 512.0,
            "system_total_throughput_tok_s": 2560.0, "output_throughput_per_user_tok_s": 129.3,
            "output_throughput_per_gpu_tok_s": 512.0,
            "request_latency_percentiles_ms": percentiles(985.0, 1010.0, 1030.0),
        },
        "dataset": {
            "isl_stats": lengths(512.0), "osl_stats": lengths(128.0),
            "seq_len_stats": lengths(640.0), "num_requests": 20,
            "dataset_path": "/somewhere/requests.jsonl",
        },
    }  # fmt: skip
    if streaming:
        made["streaming_metrics"] = {
            "token_output_speed_tok_s": 142.7, "avg_ttft_ms": 101.0, "avg_tpot_ms": 7.0,
            "tpot_percentiles": percentiles(7.0, 7.2, 7.4),
            "ttft_percentiles": percentiles(100.0, 120.0, 140.0),
            "gen_tps_percentiles": percentiles(142.0, 144.0, 146.0),
        }  # fmt: skip
    return made


def requests(first_token_ns: float = 101e6) -> list[dict[str, Any]]:
    """Return a --request_json file's content: ten requests of 980 ms, ten of 1000 ms, in ns."""
    return [
        {
            "id": k, "num_input_tokens": 512, "error_tokens": 0, "start_timestamp": 0,
            "time_to_first_token": first_token_ns, "end_to_end_latency": 980e6 + 20e6 * (k % 2),
            "num_total_output_tokens": 128, "output_tokens": 128,
        }
        for k in range(20)
    ]  # fmt: skip


# The end of a log published with 0.12.0's documentation.
LOG = """\
[08/12/2024-19:37:19] [TRT-LLM] [I] Statistics process successfully joined.
[08/12/2024-19:37:19] [TRT-LLM] [I]
===========================================================
= ENGINE DETAILS
===========================================================
Model:                  meta-llama/Llama-2-7b-hf
Engine Directory:       /tmp/meta-llama/Llama-2-7b-hf/tp_1_pp_1
TensorRT-LLM Version:   0.12.0
Dtype:                  float16
KV Cache Dtype:         FP8
Quantization:           FP8
Max Input Length:       256
Max Sequence Length:    256

===========================================================
= WORLD + RUNTIME INFORMATION
===========================================================
TP Size:                1
PP Size:                1
Max Runtime Batch Size: 4096
Max Runtime Tokens:     8192
Scheduling Policy:      Guaranteed No Evict
KV Memory Percentage:   90.0%
Issue Rate (req/sec):   2.0827970096792666e+19
===========================================================
= STATISTICS
===========================================================
Number of requests:             3000
Average Input Length (tokens):  128.0
Average Output Length (tokens): 128.0
Token Throughput (tokens/sec):  18886.813971319196
Request Throughput (req/sec):   147.55323415093122
Total Latency (seconds):        20.331645167
===========================================================

[TensorRT-LLM][INFO] Orchestrator sendReq thread exiting
"""
# 0.17's labels where they differ, with its tabs: 20 requests as in report().
LOG_0_17 = """\
[12/17/2024-10:00:00] [TRT-LLM] [I]

===========================================================
= ENGINE DETAILS
===========================================================
Model:\t\t\tmeta-llama/Llama-2-7b-hf
TensorRT-LLM Version:\t0.17.0.dev2024121700
Dtype:\t\t\tbfloat16
KV Cache Dtype:\t\tNone
Quantization:\t\tNone

===========================================================
= WORLD + RUNTIME INFORMATION 
===========================================================
TP Size:\t\t2
PP Size:\t\t1
Max Runtime Batch Size:\t4

===========================================================
= PERFORMANCE OVERVIEW 
===========================================================
Number of requests:\t\t20
Average Input Length (tokens):\t512.0000
Average Output Length (tokens):\t128.0000
Token Throughput (tokens/sec):\t512.0000
Request Throughput (req/sec):\t4.0000
Total Latency (ms):\t\t5000.0000

===========================================================
= STREAMING STATISTICS 
===========================================================
Average request latency (ms):\t\t990.0000
Average time-to-first-token (ms):\t101.0000
Average inter-token latency (ms):\t7.0000

===========================================================
"""  # noqa: W291
