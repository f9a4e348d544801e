from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.cases import Case
from perfkit.errors import UsageError
from perfkit.reporting.compare import compare
from perfkit.reporting.frame import rows
from perfkit.reporting.tables import ratio
from perfkit.results import store
from perfkit.results.trtllm_bench import QUANTILE_METHOD, document, model_name
from perfkit.results.trtllm_report import parse
from perfkit.results.validity import run_problems, unusable
from tests.results.runs_made import stored
from tests.results.trtllm_reports import LOG, LOG_0_17, lengths, report, requests

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ID = "trtllm-engine/llama2-7b/fp16/fmha/b4/p512/n128/tp1"


def imported(made: dict[str, Any] | str, asked: object = None) -> dict[str, Any]:
    text = made if isinstance(made, str) else json.dumps(made)
    return document(parse(text, "r.json"), now=NOW, requests=asked, requests_where="q.json")


def only(made: dict[str, Any]) -> dict[str, Any]:
    (cell,) = store.cells_of(made).values()
    return cell


def test_a_report_is_one_cell_whose_id_follows_the_grammar() -> None:
    made = imported(report())
    assert list(store.cells_of(made)) == [ID]
    assert Case.parse(ID).model_dump() == only(made)["case"]
    pytorch = report("Pytorch")
    pytorch["engine"] |= {"dtype": "bfloat16", "model": "Qwen/Qwen2-7B"}
    assert list(store.cells_of(imported(pytorch))) == [
        "trtllm-pytorch/local:Qwen--Qwen2-7B/bf16/fmha/b4/p512/n128/tp1"
    ]


def test_figures_are_those_of_the_report_in_seconds() -> None:
    cell = only(imported(report()))
    there = {name: value for name, value in cell["metrics"].items() if value is not None}
    assert there == pytest.approx(
        {"output_tokens_per_s": 512.0, "ttft_s": 0.101, "tpot_s": 0.007, "e2e_s": 0.99}
    )
    assert cell["quantiles"]["method"] == QUANTILE_METHOD == "trtllm-bench: sorted[int(n*q)]"
    assert cell["quantiles"]["e2e_s"] == pytest.approx({"p50": 0.985, "p90": 1.01, "p99": 1.03})
    assert cell["quantiles"]["ttft_s"] == pytest.approx({"p50": 0.1, "p90": 0.12, "p99": 0.14})
    assert cell["quantiles"]["tpot_s"]["p50"] == pytest.approx(0.007)


def test_each_null_has_a_reason_and_what_was_assumed_is_said() -> None:
    cell = only(imported(report()))
    nulls = {name for name, value in cell["metrics"].items() if value is None}
    assert nulls >= {"mfu", "mbu", "peak_device_bytes", "energy_j_per_token", "decode_tokens_per_s"}
    assert nulls <= set(cell["absent"])
    assert "no FMHA key" in cell["absent"]["attention"]
    assert "one run" in cell["absent"]["variance"]
    assert "itl_s" in cell["quantiles"]
    notes = " ".join(cell["imported"]["notes"])
    assert "batch is the mean number of concurrent requests, 3.96, rounded" in notes
    assert "means over requests" in notes


def test_no_path_of_the_machine_it_ran_on_is_kept() -> None:
    assert "somewhere" not in json.dumps(imported(report()))


def test_without_streaming_first_tokens_have_no_time() -> None:
    cell = only(imported(report(streaming=False)))
    assert cell["metrics"]["ttft_s"] is None
    assert cell["metrics"]["tpot_s"] is None
    assert cell["metrics"]["e2e_s"] == 0.99
    assert "only with --streaming" in cell["absent"]["ttft_s"]
    assert cell["quantiles"]["ttft_s"] == {"p50": None, "p90": None, "p99": None}
    assert "only with --streaming" in cell["absent"]["quantiles.ttft_s"]


def test_an_infinite_issue_rate_leaves_a_file_that_is_json() -> None:
    made = report()
    made["world_info"]["issue_rate"] = float("inf")
    assert only(imported(made))["imported"]["world"]["issue_rate"] == "Infinity"


def test_one_new_token_has_no_time_per_output_token() -> None:
    made = report()
    made["request_info"]["avg_output_length"] = 1.0
    made["performance"]["system_output_throughput_tok_s"] = 4.0
    made["dataset"]["osl_stats"] = lengths(1.0)
    made["streaming_metrics"]["avg_tpot_ms"] = 0.0
    cell = only(imported(made))
    assert cell["metrics"]["tpot_s"] is None
    assert cell["absent"]["tpot_s"] == "undefined at one new token"


def test_a_published_log_is_read() -> None:
    made = imported(LOG)
    (name,) = store.cells_of(made)
    assert name == "trtllm-engine/llama2-7b/fp8/fmha/b3000/p128/n128/tp1"
    cell = only(made)
    assert cell["metrics"]["output_tokens_per_s"] == pytest.approx(3000 * 128 / 20.331645167)
    assert cell["metrics"]["e2e_s"] is None
    assert "this log does not say" in cell["imported"]["notes"][0]


def test_a_log_with_streaming_has_its_latencies() -> None:
    made = imported(LOG_0_17)
    (name,) = store.cells_of(made)
    assert name == "trtllm-engine/llama2-7b/bf16/fmha/b4/p512/n128/tp2"
    assert only(made)["metrics"]["ttft_s"] == pytest.approx(0.101)


def test_requests_become_samples_in_seconds() -> None:
    samples = only(imported(report(), requests()))["samples"]
    assert samples["e2e_s"][:2] == pytest.approx([0.98, 1.0])
    assert samples["ttft_s"] == pytest.approx([0.101] * 20)
    assert set(only(imported(report(streaming=False), requests(0)))["samples"]) == {"e2e_s"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "q.json is no request file"),
        ([3], "q.json is no request file"),
        (requests()[:7], "q.json holds 7 requests, its report 20"),
        ([one | {"end_to_end_latency": 0.99} for one in requests()], "in its report 0.99 s"),
        ([{}] * 20, "q.json: end_to_end_latency of request 0 is None, expected a number"),
        (requests(float("nan")), "time_to_first_token of request 0 is nan"),
    ],
)
def test_requests_of_another_run_or_unit_are_refused(asked: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        imported(report(), asked)


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("request_info", {"avg_input_length": 511.5}, "511.5 .512 to 512 in the dataset.: mixed"),
        ("dataset", {"isl_stats": {"minimum": 100, "maximum": 924}}, "100 to 924 in the dataset"),
        ("dataset", {"osl_stats": {"minimum": 130, "maximum": 130}}, "avg_output_length is 128"),
        ("dataset", {"isl_stats": {"minimum": "a"}}, "dataset.isl_stats.minimum is 'a'"),
        ("engine", {"quantization": "W4A16_AWQ"}, "quantization 'W4A16_AWQ' has no precision"),
        ("engine", {"kv_cache_dtype": "FP8"}, "KV cache 'FP8' beside weights in float16"),
        ("engine", {"dtype": "float64"}, "dtype 'float64' has no precision in perfkit; known: bf"),
        ("engine", {"backend": "_autodeploy"}, "backend is '_autodeploy', expected one of TRT"),
        ("engine", {"model": None}, "r.json has no engine.model"),
        ("world_info", {"pp_size": 2}, "pp_size is 2, expected 1"),
        ("world_info", {"tp_size": "two"}, "world_info.tp_size is 'two', expected a number"),
        ("performance", {"system_output_throughput_tok_s": 2560}, "r.json does not add up"),
        ("performance", {"avg_request_latency_ms": float("nan")}, "is 'NaN', expected a n"),
        ("streaming_metrics", {"ttft_percentiles": 3}, "ttft_percentiles is 3, expected an object"),
        ("decoding_stats", {"mode": "Eagle"}, "speculative decoding has no cell"),
    ],
)
def test_what_no_cell_describes_is_refused_in_one_line(
    part: str, change: dict[str, Any], words: str
) -> None:
    made = report()
    made[part] = made.get(part, {}) | change
    with pytest.raises(UsageError, match=words) as told:
        imported(made)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("published", "ours"),
    [
        ("meta-llama/Llama-2-13b-chat-hf", "llama2-13b"),
        ("meta-llama/Meta-Llama-3-8B", "llama3-8b"),
        # Its rotary embedding and positions are others.
        ("meta-llama/Llama-3.1-8B", "local:meta-llama--Llama-3.1-8B"),
        ("../x y/", "local:x--y"),
    ],
)
def test_a_model_has_our_name_where_its_architecture_is_ours(published: str, ours: str) -> None:
    assert model_name(published) == ours


def test_no_ratio_uses_an_imported_cell() -> None:
    made = imported(report())
    cell = only(made)
    assert cell["verdict"] == "ok"
    assert ratio(cell, cell) is None
    assert {row.ratio for row in compare(made, made)} == {None}
    assert {row.note for row in compare(made, made)} == {"A's outputs were not shown to agree"}


def test_no_gate_accepts_an_imported_run() -> None:
    made = imported(report())
    assert run_problems(made, stored(2)) == [
        "measured on imported-trtllm-bench, the baseline on cpu-test_1-cores"
    ]
    # Even where somebody made a baseline of imports.
    assert unusable(made, ID) == (
        "outputs not shown to agree: imported from trtllm-bench: outputs not seen"
    )
    (told,) = run_problems(made, [made, made])
    assert told.startswith("0 canary readings, 0 canaries in the baseline: expected readings")


def test_it_is_a_result_file_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    path.write_text(json.dumps(imported(report(), requests()), allow_nan=False), encoding="utf-8")
    (row,) = rows(store.read(path))
    assert row["cell"] == ID
    assert row["machine_key"] == "imported-trtllm-bench"
    assert row["attention_prefill"] == "unknown"
    assert row["output_tokens_per_s"] == 512.0
