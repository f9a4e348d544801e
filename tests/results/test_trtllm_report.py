from __future__ import annotations

import json

import pytest

from perfkit.errors import UsageError
from perfkit.results.trtllm_report import parse
from tests.results.trtllm_reports import LOG, LOG_0_17, report


def test_a_log_becomes_a_report_in_its_units() -> None:
    read = parse(LOG, "x.log")
    assert read.text("engine", "backend") == "TRT"
    assert read.text("engine", "quantization") == "FP8"
    assert read.whole("world_info", "max_batch_size") == 4096
    assert read.whole("request_info", "num_requests") == 3000
    assert read.number("performance", "total_latency_ms") == pytest.approx(20_331.645167)
    assert read.number("performance", "system_output_throughput_tok_s") == 18886.813971319196
    assert read.part("streaming_metrics") == {}


def test_labels_of_later_logs_are_known_too() -> None:
    read = parse(LOG_0_17, "x.log")
    assert read.text("engine", "quantization") == "None"
    assert read.number("performance", "total_latency_ms") == 5000
    assert read.number("performance", "avg_request_latency_ms") == 990
    assert read.part("streaming_metrics") == {"avg_ttft_ms": 101.0, "avg_tpot_ms": 7.0}


def test_the_last_run_of_a_log_counts() -> None:
    assert parse(LOG_0_17 + LOG, "x.log").text("engine", "version") == "0.12.0"
    assert parse(LOG_0_17 + LOG, "x.log").part("streaming_metrics") == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "x is neither JSON nor a trtllm-bench log: expected a file of --report_json"),
        ("[08/12/2024-19:37:19] [TRT-LLM] [I] Parsing", "x is neither JSON nor"),
        ("no tables here\n", "ends in the tables ENGINE DETAILS"),
        ('{"engine": {', "x is not JSON"),
        ("[1, 2]", "it has no engine, world_info, request_info, performance"),
        ('{"benchmarks": [], "engine": 3}', "x is no trtllm-bench report: it has no engine, "),
        (
            LOG.replace("147.5", "").replace("3000", "many"),
            "Number of requests is 'many', expected",
        ),
    ],
)
def test_a_file_of_something_else_is_named_in_one_line(text: str, words: str) -> None:
    with pytest.raises(UsageError) as told:
        parse(text, "x")
    assert words in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("fast", "x: performance.total_latency_ms is 'fast', expected a number"),
        (True, "is True, expected a number"),
        (float("nan"), "is 'NaN', expected a number"),
        (0, "is 0.0, expected a finite number over 0"),
        (10**400, "is inf, expected a finite number over 0"),
        (-1, "is -1.0, expected a finite number over 0"),
        (None, "x has no performance.total_latency_ms: expected a whole report or log"),
    ],
)
def test_what_is_no_number_is_refused(value: object, words: str) -> None:
    made = report()
    made["performance"]["total_latency_ms"] = value
    read = parse(json.dumps(made), "x")  # NaN goes through JSON as Python writes it
    with pytest.raises(UsageError, match=words):
        read.number("performance", "total_latency_ms")


def test_another_kind_of_value_is_named_with_its_place() -> None:
    read = parse(json.dumps(report() | {"streaming_metrics": [1]}), "x")
    with pytest.raises(UsageError, match=r"x: streaming_metrics is \[1\], expected an object"):
        read.part("streaming_metrics", "ttft_percentiles")
    with pytest.raises(UsageError, match=r"x: request_info.num_requests is 20, expected a text"):
        read.text("request_info", "num_requests")
    with pytest.raises(UsageError, match=r"avg_num_concurrent_requests is 3.96, expected a whole"):
        read.whole("request_info", "avg_num_concurrent_requests")
