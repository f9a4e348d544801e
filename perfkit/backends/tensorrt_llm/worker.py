"""The process that holds TensorRT-LLM: ``python -m perfkit.backends.tensorrt_llm.worker``.

Its ranks import the main module again, so everything stands under the guard at the end.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.backends.apart.serving import serve
from perfkit.backends.tensorrt_llm.arguments import Arguments, sampling
from perfkit.backends.tensorrt_llm.times import Request, batch_times, sources

if TYPE_CHECKING:
    from perfkit.backends.apart.serving import Answer

Arrays = dict[str, np.ndarray]
_ROWS = 2


class Worker:
    """One LLM at a time: built and saved, or loaded and asked."""

    def __init__(self) -> None:
        """Hold nothing yet but one event loop: what an LLM hands out stays bound to its loop."""
        self._llm: Any = None
        self._loop = asyncio.new_event_loop()

    def __call__(self, name: str, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Answer a call by its name."""
        calls = {
            "build": self._build,
            "load": self._load,
            "generate": self._generate,
            "logits": self._logits,
        }
        return calls[name](header, arrays)

    def _build(self, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Build an engine and save it to ``folder``."""
        del arrays
        llm = make(Arguments(**header["arguments"]))
        llm.save(header["folder"])
        return {}, {}

    def _load(self, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Load an engine or a model, ready to generate."""
        del arrays
        self._llm = make(Arguments(**header["arguments"]))
        return {}, {}

    def _generate(self, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Stream all rows of ``ids`` (B, P) at once: ``tokens`` (B, N) and ``tokens_s`` (N,)."""
        new_tokens = header["new_tokens"]
        prompts = arrays["ids"].tolist()
        asked = _sampling_params(sampling(new_tokens))
        start = time.perf_counter()
        done = self._loop.run_until_complete(_all(self._llm, prompts, asked))
        host_s = time.perf_counter() - start
        tokens = [found for found, _ in done]
        for row, found in enumerate(tokens):
            if len(found) != new_tokens:
                raise RuntimeError(
                    f"request {row} returned {len(found)} tokens, expected {new_tokens}"
                )
        requests = [request for _, request in done]
        return {"times": sources(requests), "host_s": host_s}, {
            "tokens": np.array(tokens, dtype=np.int64),
            "tokens_s": np.array(batch_times(requests), dtype=np.float64),
        }

    def _logits(self, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Return the logits after the prompt and each forced token, (K + 1, B, V) fp32.

        One prefill of prompt and forced tokens together: context logits of its last K + 1 places.
        A few rows at a time, since those of every place come back.
        """
        del header
        rows = np.concatenate([arrays["ids"], arrays["forced"]], axis=1).tolist()
        steps = arrays["forced"].shape[1] + 1
        asked = _sampling_params(sampling(1) | {"return_context_logits": True})
        last: list[np.ndarray] = []
        for start in range(0, len(rows), _ROWS):
            some = rows[start : start + _ROWS]
            for output in self._llm.generate(some, sampling_params=asked, use_tqdm=False):
                logits = getattr(output, "context_logits", None)
                if logits is None:
                    raise NotImplementedError("this version gives no context logits")
                last.append(logits[-steps:].float().cpu().numpy())
        return {}, {"logits": np.stack(last, axis=1).astype(np.float32)}


def make(arguments: Arguments) -> Any:
    """Return an ``LLM`` made with these arguments."""
    llmapi = importlib.import_module("tensorrt_llm.llmapi")
    top = importlib.import_module("tensorrt_llm")
    made = dict(arguments.llm, kv_cache_config=llmapi.KvCacheConfig(**arguments.kv))
    if arguments.build is not None:
        build = top.BuildConfig(**arguments.build)
        for name, value in (arguments.plugin or {}).items():
            setattr(build.plugin_config, name, value)
        made["build_config"] = build
    if arguments.quant is not None:
        algos = {name: getattr(llmapi.QuantAlgo, algo) for name, algo in arguments.quant.items()}
        made["quant_config"] = llmapi.QuantConfig(**algos)
    return importlib.import_module(arguments.module).LLM(**made)


def _sampling_params(table: dict[str, Any]) -> Any:
    return importlib.import_module("tensorrt_llm").SamplingParams(**table)


async def _all(llm: Any, prompts: list[list[int]], params: Any) -> list[tuple[list[int], Request]]:
    return list(await asyncio.gather(*(_one(llm, prompt, params) for prompt in prompts)))


async def _one(llm: Any, prompt: list[int], params: Any) -> tuple[list[int], Request]:
    """Submit one prompt, and note when each of its tokens was seen."""
    submitted = time.perf_counter()
    seen: list[float] = []
    tokens: list[int] = []
    completion: Any = None
    async for output in llm.generate_async(prompt, sampling_params=params, streaming=True):
        now = time.perf_counter()
        completion = output.outputs[0]
        # The list grows in place, and a step may bring several.
        seen += [now] * (len(completion.token_ids) - len(seen))
        tokens = list(completion.token_ids)
    return tokens, Request(submitted, tuple(seen), _told(completion))


def _told(completion: Any) -> tuple[float, float, float] | None:
    """Return the executor's arrival, first and last token in seconds; None where it is mute."""
    metrics = getattr(completion, "request_perf_metrics", None)
    timing = getattr(metrics, "timing_metrics", None)
    if timing is None:
        return None
    names = ("arrival_time", "first_token_time", "last_token_time")
    moments = [getattr(timing, name, None) for name in names]
    if any(moment is None for moment in moments):
        return None
    arrival, first, last = (moment.total_seconds() for moment in moments if moment is not None)
    return (arrival, first, last) if arrival < first <= last else None


if __name__ == "__main__":
    serve(Worker())
