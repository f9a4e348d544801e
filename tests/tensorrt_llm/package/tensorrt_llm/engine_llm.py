"""The TensorRT engine API: builds from a model's folder, saves, loads what was saved."""

import json
from pathlib import Path

from tensorrt_llm import running
from tensorrt_llm.running import TROUBLE, Requests, kill, output, say
from tensorrt_llm.strict import VERSION, BuildConfig


class LLM:
    def __init__(self, model, **given):
        running.arguments("TrtLlmArgs", {"model": model, **given})
        ranks = given.get("tensor_parallel_size", 1)
        folder, self._gathers = Path(model), False
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._tp, self._build, self._dtype = ranks, None, given.get("dtype")
        quant = given.get("quant_config")
        self._quant = {name: algo.name for name, algo in vars(quant).items()} if quant else {}
        if "pretrained_config" in told and "build_config" in told:
            source, load_format = self._loaded(folder, told, ranks)
        else:
            source, load_format = folder, given.get("load_format", "auto")
            self._build = given.get("build_config") or BuildConfig()
            self._built(self._build)
        self._source, self._load_format = source, load_format
        self._requests = Requests(source, load_format, given["kv_cache_config"], ranks)

    def _loaded(self, folder, told, ranks):
        if told["version"] != VERSION or "mismatch" in TROUBLE:
            say("Version tag does not match. Current Version: 228, Serialized Engine Version: 237",
                "ERROR")  # fmt: skip
            raise RuntimeError("Failed to deserialize cuda engine")
        built = told["pretrained_config"]["mapping"]["tp_size"]
        if built != ranks:
            raise ValueError(f"tp_size {ranks} is not consistent with the engine's tp_size {built}")
        engine = json.loads((folder / "rank0.engine").read_text(encoding="utf-8"))
        self._gathers = told["build_config"]["gather_context_logits"]
        return engine["source"], engine["load_format"]

    def _built(self, build):
        if "build-killed" in TROUBLE:
            kill()
        if "build-fallback" in TROUBLE:
            say("Fall back to unfused MHA because of unsupported data type.", "WARNING")
        if "build-wrong" in TROUBLE:
            build.plugin_config.context_fmha = not build.plugin_config.context_fmha
        plugin = build.plugin_config
        if not plugin.context_fmha and plugin.use_paged_context_fmha:
            raise RuntimeError("Paged Context FMHA cannot be enabled without Context FMHA")
        assert build.max_num_tokens >= build.max_input_len

    def save(self, folder):
        folder = Path(folder)
        build = dict(self._build.__dict__, plugin_config=self._build.plugin_config.__dict__)
        mapping = {"world_size": self._tp, "tp_size": self._tp, "pp_size": 1}
        pretrained = {"mapping": mapping, "dtype": self._dtype, "quantization": self._quant}
        told = {"version": VERSION, "pretrained_config": pretrained, "build_config": build}
        (folder / "config.json").write_text(json.dumps(told), encoding="utf-8")
        engine = json.dumps({"source": str(self._source), "load_format": self._load_format})
        for rank in range(self._tp):
            (folder / f"rank{rank}.engine").write_text(engine, encoding="utf-8")

    def generate(self, inputs, **given):
        self._requests.check_call("LLM.generate", given)
        gives = given["sampling_params"].return_context_logits and self._gathers
        return [
            output([self._requests.next(ids)], None, self._requests.logits(ids) if gives else None)
            for ids in inputs
        ]

    def generate_async(self, inputs, **given):
        self._requests.check_call("LLM.generate_async", given)
        return self._requests.stream(inputs, given["sampling_params"])
