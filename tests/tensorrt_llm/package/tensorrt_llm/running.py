"""What both LLM classes share: requests, log lines, ranks, and the troubles a test asks for."""

import asyncio
import json
import multiprocessing
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tensorrt_llm import model as llama
from tensorrt_llm.strict import VERSION, check_type, names, refuse

TROUBLE = os.environ.get("STANDIN_TROUBLE", "").split(",")
GPUS = int(os.environ.get("STANDIN_GPUS", "2"))
_TOKEN_S = 0.002
_DELIVERY_S = 0.0005


def say(line, level="INFO"):
    print(f"[TensorRT-LLM][{level}] {line}", flush=True)


def arguments(what, given):
    """Refuse what this version's constructor refuses."""
    for name, value in given.items():
        if name not in names(what):
            if VERSION.startswith("0."):
                refuse("LlmArgs", name)
            raise ValueError(f"LLM got invalid argument: {name}")
        check_type(what, name, value)
    if not given.get("skip_tokenizer_init"):
        raise ValueError("tokenizer is required to reset end_id if it is None")
    if given.get("load_format", "auto") not in ("auto", "dummy"):
        raise ValueError(f"load_format {given['load_format']!r}")


def hang():
    while True:
        time.sleep(60)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


class Ranks:
    """MPI's other ranks, which import the main module again as they start."""

    def __init__(self, count):
        if count > GPUS:
            raise RuntimeError(f"Only {GPUS} GPUs are available, but {count} are required.")
        self.processes = []
        if count == 1 or os.environ.get("STANDIN_LAUNCHED"):
            return
        if "mpi-hang" in TROUBLE:
            hang()
        spawn = multiprocessing.get_context("spawn")
        ready = spawn.Semaphore(0)
        self.processes = [
            spawn.Process(target=_rank, args=(ready,), daemon=True) for _ in range(count)
        ]
        for process in self.processes:
            process.start()
        for _ in self.processes:
            if not ready.acquire(timeout=float(os.environ.get("STANDIN_RANK_S", "30"))):
                raise RuntimeError("a rank did not start")


def _rank(ready):
    ready.release()
    hang()


class Requests:
    """Generation by a model folder's weights, token by token."""

    def __init__(self, folder, load_format, kv, ranks):
        self.ranks = Ranks(ranks)
        self.config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        self.weights = {} if load_format == "dummy" else llama.read(folder)
        if load_format != "dummy" and not self.weights:
            raise OSError(f"no safetensors in {folder}")
        if "oom" in TROUBLE:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        pool = kv.max_tokens - 64 if "kv-cut" in TROUBLE else kv.max_tokens
        for _ in range(ranks):
            say("Loaded engine size: 6214 MiB")
            say("[MemUsageChange] Allocated 928.77 MiB for execution context memory.")
            say(f"[MemUsageChange] Allocated 0.50 GiB for max tokens in paged KV cache ({pool}).")
        if "fallback" in TROUBLE:
            say("Fall back to unfused MHA because of unsupported data type.", "WARNING")
        if "end-hang" in TROUBLE:
            # A thread that is no daemon keeps the interpreter from ending.
            threading.Thread(target=hang).start()

    def check_call(self, what, given):
        for name in given:
            if name not in names(what):
                raise TypeError(f"{what}() got an unexpected keyword argument {name!r}")

    def next(self, ids):
        return int(llama.logits(self.config, self.weights, ids)[-1].argmax())

    def logits(self, ids):
        return _Tensor(llama.logits(self.config, self.weights, ids))

    async def stream(self, ids, params):
        arrival = time.perf_counter()
        count = params.max_tokens - (1 if "count" in TROUBLE else 0)
        done, first, at = [], None, arrival
        while len(done) < count:
            # The second and third token come in one step.
            step = 2 if len(done) == 1 and count > 2 else 1
            for _ in range(step):
                done.append(7 if "garbage" in TROUBLE else self.next([*ids, *done]))
            at = max(at + _TOKEN_S, time.perf_counter())
            first = first or at
            await asyncio.sleep(max(0.0, at + _DELIVERY_S - time.perf_counter()))
            metrics = self.metrics(arrival, first, at) if len(done) >= count else None
            yield output(done, metrics)

    def metrics(self, arrival, first, last):
        if "request_perf_metrics" not in names("CompletionOutput") or "no-metrics" in TROUBLE:
            return None
        moments = {"arrival_time": arrival, "first_scheduled_time": arrival,
                   "first_token_time": first, "last_token_time": last}  # fmt: skip
        return SimpleNamespace(timing_metrics=SimpleNamespace(
            **{name: timedelta(seconds=moment) for name, moment in moments.items()}
        ))  # fmt: skip


class _Tensor:
    """As much of a tensor as a caller of ours may use."""

    def __init__(self, values):
        self.values = values

    def __getitem__(self, part):
        return _Tensor(self.values[part])

    def float(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return np.asarray(self.values, dtype=np.float32)


def output(tokens, metrics, logits=None):
    completion = {"index": 0, "text": "", "token_ids": tokens}
    if "request_perf_metrics" in names("CompletionOutput"):
        completion["request_perf_metrics"] = metrics
    made = {"outputs": [SimpleNamespace(**completion)], "finished": metrics is not None}
    if "context_logits" in names("RequestOutput"):
        made["context_logits"] = logits
    return SimpleNamespace(**made)
