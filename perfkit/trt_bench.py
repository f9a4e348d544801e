"""The ``trtllm-bench`` command equivalent to a case, what of it is not, and the case's prompts.

What a version's subcommands take is from tensorrt_llm/bench/benchmark/{throughput,low_latency}.py:
1.2.0rc2, 1.0.0rc4 and 0.17.0.dev2024121700.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from perfkit.cases import LOCAL
from perfkit.errors import UsageError, unknown
from perfkit.results.trtllm_bench import HF_MODELS

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.cases import Case
    from perfkit.inputs.prompts import PromptSet

_LATENCY = frozenset({
    "--engine_dir", "--backend", "--max_seq_len", "--dataset", "--num_requests", "--warmup", "--tp",
    "--concurrency", "--report_json",
})  # fmt: skip
_THROUGHPUT = _LATENCY | {
    "--max_batch_size", "--max_num_tokens", "--eos_id", "--streaming", "--request_json"
}  # fmt: skip
# Of the flags that a command here may have, those that each version's subcommand takes.
FLAGS: dict[str, dict[str, frozenset[str]]] = {
    "1.2": {"latency": _LATENCY, "throughput": _THROUGHPUT},
    "1.0": {"latency": _LATENCY, "throughput": _THROUGHPUT},
    "0.17": {
        "latency": frozenset({"--engine_dir", "--dataset", "--num_requests", "--warmup"}),
        "throughput": frozenset({
            "--engine_dir", "--dataset", "--num_requests", "--streaming", "--max_batch_size",
            "--max_num_tokens",
        }),
    },
}  # fmt: skip
NEWEST = "1.2"
_ENGINE, _PYTORCH = "trtllm-engine", "trtllm-pytorch"
_REPORT, _REQUESTS, _LOG = "report.json", "requests.json", "trtllm-bench.log"
# perfkit run's cap, in rounds.
_WARMUP_ROUNDS = 3


def script(case: Case, api: str, rounds: int, dataset: Path | None) -> list[str]:
    """Return lines of shell: the command for ``rounds`` rounds' requests, and comments on it.

    Raises UsageError for another backend's case, and for what no trtllm-bench of that version runs.
    """
    _check(case, api)
    flags = FLAGS[api][_subcommand(case)]
    command = ["trtllm-bench", *_model(case), _subcommand(case)]
    for flag, value in _wanted(case, rounds, dataset):
        if flag in flags:
            command += [flag] if value is None else [flag, value]
    line, then = shlex.join(command), f"perfkit import-trtllm-bench {_REPORT}"
    if "--request_json" in flags:
        then += f" --requests {_REQUESTS}"
    if "--report_json" not in flags:
        line, then = f"{line} 2>&1 | tee {_LOG}", f"perfkit import-trtllm-bench {_LOG}"
    said = [f"{case.id} with trtllm-bench {api}", *_placeholders(case, dataset)]
    said += [f"not equivalent: {text}" for text in _differences(case, api)]
    return [*(f"# {text}" for text in said), line, f"# then: {then}"]


def requests(case: Case, api: str, rounds: int, prompts: PromptSet) -> str:
    """Return the dataset, one JSON object a line: the ids of rounds 0 to ``rounds`` - 1, in order.

    They are those that perfkit gives its rounds of these numbers, warm-up rounds among them. Raises
    UsageError for a local model, whose ids come from its own tokenizer.
    """
    if case.model.startswith(LOCAL):
        raise UsageError(
            f"--dataset: the prompt ids of {case.model} come from its own tokenizer; name one of "
            f"perfkit's models ({', '.join(HF_MODELS)}), or make one with trtllm-bench"
        )
    key = "logits" if api == "0.17" else "input_ids"
    rows = [
        row.tolist()
        for round_ in range(rounds)
        for row in prompts.batch(round_, case.batch, case.prompt_len)
    ]
    lines = [
        json.dumps({"task_id": number, key: ids, "output_tokens": case.new_tokens})
        for number, ids in enumerate(rows)
    ]
    return "".join(f"{line}\n" for line in lines)


def _check(case: Case, api: str) -> None:
    if api not in FLAGS:
        raise UsageError(unknown("--api-version", api, FLAGS))
    if case.backend not in (_ENGINE, _PYTORCH):
        raise UsageError(
            f"{case.id}: trtllm-bench runs none of {case.backend}; expected a case of {_ENGINE} or "
            f"{_PYTORCH}"
        )
    if case.provider is not None:
        raise UsageError(f"{case.id}: trtllm-bench has no choice of attention: use fmha")
    if case.backend == _PYTORCH and not case.fused:
        raise UsageError(
            f"{case.id}: TensorRT-LLM's PyTorch backend has no FMHA switch; use {_ENGINE}, whose "
            "engine perfkit build-engine builds without FMHA"
        )
    if case.backend == _PYTORCH and api == "0.17":
        raise UsageError(f"{case.id}: trtllm-bench 0.17 has no --backend: use --api-version 1.2")
    if case.model not in HF_MODELS and api == "0.17":
        raise UsageError(
            f"{case.id}: {case.model} has no published checkpoint, and whether trtllm-bench 0.17 "
            "takes --model_path is not known; use --api-version 1.2"
        )


def _subcommand(case: Case) -> str:
    return "latency" if case.batch == 1 else "throughput"


def _model(case: Case) -> list[str]:
    if case.model in HF_MODELS:
        return ["--model", HF_MODELS[case.model][0]]
    return ["--model", case.model.removeprefix(LOCAL), "--model_path", "MODEL_DIR"]


def _wanted(case: Case, rounds: int, dataset: Path | None) -> list[tuple[str, str | None]]:
    """Return the flags in order, of which a version's subcommand may lack some."""
    engine = case.backend == _ENGINE
    flags: list[tuple[str, str | None]] = [("--backend", "tensorrt" if engine else "pytorch")]
    if engine:
        flags.append(("--engine_dir", "ENGINE_DIR"))
    else:  # with an engine, trtllm-bench refuses it: the engine's own holds
        flags.append(("--max_seq_len", str(case.prompt_len + case.new_tokens)))
    return [
        *flags,
        ("--tp", str(case.tp)),
        ("--max_batch_size", str(case.batch)),
        # All prompts of a batch in one prefill, as in a round.
        ("--max_num_tokens", str(case.batch * case.prompt_len)),
        ("--dataset", "DATASET" if dataset is None else str(dataset)),
        ("--eos_id", "-1"),
        ("--num_requests", str(rounds * case.batch)),
        ("--warmup", str(_WARMUP_ROUNDS * case.batch)),
        ("--concurrency", str(case.batch)),
        ("--streaming", None),
        ("--report_json", _REPORT),
        ("--request_json", _REQUESTS),
    ]


def _placeholders(case: Case, dataset: Path | None) -> list[str]:
    said = []
    if case.backend == _ENGINE:
        said.append("ENGINE_DIR: from perfkit build-engine CONFIG")
    if case.model not in HF_MODELS:
        said.append(f"MODEL_DIR: a Hugging Face folder of {case.model} with a tokenizer")
    if dataset is None:
        said.append("DATASET: from --dataset FILE of this command")
    return said


def _differences(case: Case, api: str) -> list[str]:
    """Return what a cell of perfkit's does otherwise."""
    said = [
        "a request that ends makes room for the next one, where perfkit's rounds end together",
        "times are the host's, at the client; warm-up draws from the same requests",
        "1.x reuses the KV blocks of a prompt it has seen: time to first token may profit",
        "the KV pool takes 0.90 of free memory, perfkit's is sized to the case",
        "weights are the checkpoint's or the engine's, perfkit's are random without --model",
    ]
    if case.backend == _ENGINE:
        said.append(
            f"{case.precision}, {case.attention} and tp{case.tp} are the engine's; trtllm-bench "
            "cannot switch FMHA, and its report does not say: an import is called fmha"
        )
    else:
        said.append(f"{case.precision} is the checkpoint's, from its config.json: there is no flag")
    if "--eos_id" not in FLAGS[api][_subcommand(case)]:
        said.append(
            f"{api} has no --eos_id here: whether an end of sequence ends a request is not known"
        )
    if api == "0.17" and case.batch > 1:
        said.append(
            "0.17 has no --concurrency and no --warmup here: all requests are there at once, "
            f"and --max_batch_size {case.batch} alone bounds what runs"
        )
    return said
