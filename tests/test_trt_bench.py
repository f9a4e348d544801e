from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from perfkit.cases import Case
from perfkit.errors import UsageError
from perfkit.inputs.prompts import PromptSet
from perfkit.trt_bench import FLAGS, requests, script

# What each version's subcommands take, copied from its sources.
KNOWN = json.loads((Path(__file__).parent / "trtllm_bench_flags.json").read_text(encoding="utf-8"))
ENGINE = Case.parse("trtllm-engine/llama2-7b/fp16/nofmha/b8/p512/n128/tp2")
PYTORCH = Case.parse("trtllm-pytorch/llama2-7b/bf16/fmha/b8/p512/n128/tp1")
PROMPTS = PromptSet.make(("the quick brown fox jumps over the lazy dog", "pack my box"), None, 0)


def command(case: Case, api: str = "1.2", rounds: int = 5) -> list[str]:
    (line,) = [line for line in script(case, api, rounds, Path("d.jsonl")) if line[0] != "#"]
    return shlex.split(line)


def said(case: Case, api: str = "1.2") -> str:
    return "\n".join(line for line in script(case, api, 5, None) if line[0] == "#")


def value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


@pytest.mark.parametrize("api", list(FLAGS))
@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("case", [ENGINE, PYTORCH])
def test_a_command_has_only_flags_that_the_version_takes(case: Case, batch: int, api: str) -> None:
    if (case, api) == (PYTORCH, "0.17"):
        pytest.skip("0.17 has no PyTorch backend")
    words = command(case.but(batch=batch), api)
    words = words[: words.index("2>&1")] if "2>&1" in words else words
    place = 1 + words[1:].index("latency" if batch == 1 else "throughput")
    group, rest = words[1:place], words[place + 1 :]
    assert {word for word in group if word.startswith("--")} <= set(KNOWN[api]["group"])
    flags = {word for word in rest if word.startswith("--")}
    assert flags <= set(KNOWN[api][words[place]])
    assert {"--dataset", "--num_requests"} <= flags


def test_the_flags_we_know_of_are_those_of_the_version() -> None:
    for api, subcommands in FLAGS.items():
        for name, flags in subcommands.items():
            assert flags <= set(KNOWN[api][name])


def test_a_batch_runs_as_throughput_with_as_many_requests_at_once() -> None:
    words = command(PYTORCH, rounds=3)
    assert words[:4] == ["trtllm-bench", "--model", "meta-llama/Llama-2-7b-hf", "throughput"]
    assert value(words, "--backend") == "pytorch"
    assert value(words, "--concurrency") == "8"
    assert value(words, "--num_requests") == "24"
    assert value(words, "--max_num_tokens") == "4096"
    assert value(words, "--max_seq_len") == "640"
    assert value(words, "--eos_id") == "-1"
    assert "--streaming" in words
    assert "--request_json" in words


def test_one_sequence_runs_as_latency() -> None:
    words = command(PYTORCH.but(batch=1, tp=2))
    assert words[3] == "latency"
    assert value(words, "--tp") == "2"
    assert value(words, "--report_json") == "report.json"
    assert "--request_json" not in words


def test_an_engine_is_named_and_its_length_is_its_own() -> None:
    words = command(ENGINE)
    assert value(words, "--backend") == "tensorrt"
    assert value(words, "--engine_dir") == "ENGINE_DIR"
    assert "--max_seq_len" not in words
    assert "# ENGINE_DIR: from perfkit build-engine CONFIG" in said(ENGINE)
    assert "trtllm-bench cannot switch FMHA" in said(ENGINE)


def test_before_1_0_the_log_is_what_is_imported() -> None:
    line = script(ENGINE, "0.17", 5, None)[-2]
    assert "--report_json" not in line
    assert line.endswith("2>&1 | tee trtllm-bench.log")
    assert "# then: perfkit import-trtllm-bench trtllm-bench.log" in said(ENGINE, "0.17")
    assert "all requests are there at once" in said(ENGINE, "0.17")


def test_a_model_without_a_checkpoint_asks_for_a_folder() -> None:
    words = command(PYTORCH.but(model="local:mine"))
    assert words[1:5] == ["--model", "mine", "--model_path", "MODEL_DIR"]
    assert "# MODEL_DIR: " in said(PYTORCH.but(model="local:mine"))


def test_a_file_name_with_a_blank_stays_one_word() -> None:
    line = script(PYTORCH, "1.2", 5, Path("my requests.jsonl"))[-2]
    assert value(shlex.split(line), "--dataset") == "my requests.jsonl"


@pytest.mark.parametrize(
    ("case", "api", "words"),
    [
        (PYTORCH.but(attention="nofmha"), "1.2", "PyTorch backend has no FMHA switch"),
        (ENGINE.but(attention="fmha=torch-flash"), "1.2", "has no choice of attention"),
        (PYTORCH.but(backend="torch-eager"), "1.2", "runs none of torch-eager; expected a case of"),
        (PYTORCH, "0.17", "trtllm-bench 0.17 has no --backend"),
        (ENGINE.but(model="local:mine"), "0.17", "local:mine has no published checkpoint"),
        (PYTORCH, "1.3", "unknown --api-version '1.3': "),
    ],
)
def test_what_trtllm_bench_cannot_run_is_refused(case: Case, api: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        script(case, api, 5, None)


def test_the_dataset_holds_the_ids_of_perfkits_rounds() -> None:
    case = PYTORCH.but(batch=2, prompt_len=16, new_tokens=4)
    lines = [json.loads(line) for line in requests(case, "1.2", 3, PROMPTS).splitlines()]
    assert [line["task_id"] for line in lines] == [0, 1, 2, 3, 4, 5]
    assert {line["output_tokens"] for line in lines} == {4}
    second_round = PROMPTS.batch(1, 2, 16).tolist()
    assert [line["input_ids"] for line in lines[2:4]] == second_round
    assert len({tuple(line["input_ids"]) for line in lines}) == 6


def test_before_1_0_ids_are_called_logits() -> None:
    (line,) = requests(ENGINE.but(batch=1), "0.17", 1, PROMPTS).splitlines()
    assert set(json.loads(line)) == {"task_id", "logits", "output_tokens"}


def test_a_local_models_ids_are_not_made_up() -> None:
    with pytest.raises(UsageError, match="the prompt ids of local:mine come from its own tokeniz"):
        requests(PYTORCH.but(model="local:mine"), "1.2", 1, PROMPTS)
