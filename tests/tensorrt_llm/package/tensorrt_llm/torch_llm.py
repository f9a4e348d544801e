"""The PyTorch backend's LLM, from 1.0 on."""

from pathlib import Path

from tensorrt_llm import running
from tensorrt_llm.running import Requests, output
from tensorrt_llm.strict import names


class LLM:
    def __init__(self, model, **given):
        for name in given:
            if name in names("TrtLlmArgs") and name not in names("TorchLlmArgs"):
                raise ValueError(
                    f"The following arguments are specific to TensorRT backend: {name}; use "
                    "'from tensorrt_llm._tensorrt_engine import LLM'"
                )
        running.arguments("TorchLlmArgs", {"model": model, **given})
        self._longest = given["max_num_tokens"]
        self._requests = Requests(
            Path(model), given.get("load_format", "auto"), given["kv_cache_config"],
            given.get("tensor_parallel_size", 1),
        )  # fmt: skip

    def generate(self, inputs, **given):
        self._requests.check_call("LLM.generate", given)
        gives = given["sampling_params"].return_context_logits
        return [
            output([self._requests.next(ids)], None, self._requests.logits(ids) if gives else None)
            for ids in inputs
        ]

    def generate_async(self, inputs, **given):
        self._requests.check_call("LLM.generate_async", given)
        if len(inputs) > self._longest:
            raise ValueError(f"prompt of {len(inputs)} tokens is longer than max_num_tokens")
        return self._requests.stream(inputs, given["sampling_params"])
