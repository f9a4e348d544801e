"""``perfkit build-engine`` and ``perfkit trt``: from a config to an engine, and to its cells."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from perfkit.backends.tensorrt_llm import building, driving
from perfkit.backends.tensorrt_llm.config import EngineConfig
from perfkit.backends.tensorrt_llm.versions import Api, engine_api, installed
from perfkit.cases import Case, make_case
from perfkit.errors import UsageError
from perfkit.inputs import models
from perfkit.machine.identity import gpus
from perfkit.paths import cache
from perfkit.results.store import check_writable, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.backends.tensorrt_llm.building import Built

_BATCHES, _PROMPTS, _NEW = (1, 8), (128, 512), 64


def largest(config: EngineConfig, where: str) -> Case:
    """Return the largest case that an engine of this config holds.

    Raises UsageError that begins with ``where`` for sizes that the model was not made for.
    """
    fields = {
        "backend": "trtllm-engine",
        "model": config.model,
        "precision": config.precision,
        "attention": "fmha" if config.fmha else "nofmha",
        "batch": config.max_batch_size,
        "prompt_len": config.max_input_len,
        "new_tokens": config.max_seq_len - config.max_input_len,
        "tp": config.tp,
    }
    return make_case(fields, where)


def build(path: Path, model: Path | None) -> tuple[EngineConfig, Built]:
    """Build the engine that a config describes, or find it in the cache.

    ``model`` is the folder that weights of the kind ``checkpoint`` are read from. Raises UsageError
    for what a person can mend, ApartError where the build itself fails.
    """
    config = EngineConfig.read(path)
    api = engine_api(installed())
    if config.weights == "checkpoint":
        if model is None:
            raise UsageError(f"{path} reads a checkpoint: give its folder with --model PATH")
        source = models.local(model)
    elif model is not None:
        raise UsageError(f"{path} has weights {config.weights!r}: --model needs 'checkpoint'")
    else:
        source = models.find(config.model)
    device = "cuda" if gpus() else "cpu"
    reason = driving.unsupported(api, largest(config, str(path)), device)
    if reason is not None:
        raise UsageError(f"{path}: {reason}")
    assert isinstance(api, Api)  # noqa: S101  (else there is a reason)
    check_writable(cache())
    folder = driving.model_folder(config, source, device)
    return config, building.engine(api, config, folder, gpus()[0], cache())


def cells_of_config(path: Path, place: Path) -> str:
    """Write the matrix of a config's cells to ``place``; return the matrix's name.

    Raises UsageError for a config that cannot be read.
    """
    config = EngineConfig.read(path)
    check_writable(place.parent)
    write_whole(place, matrix(cases(config, str(path))))
    return str(place)


def result_name(path: Path | None) -> str:
    """Return metrics_trtllm.json, or metrics_trtllm_tp2.json of a config for two GPUs."""
    ranks = 1 if path is None else EngineConfig.read(path).tp
    return f"metrics_trtllm{f'_tp{ranks}' if ranks > 1 else ''}.json"


def cases(config: EngineConfig, where: str) -> tuple[Case, ...]:
    """Return the cells to measure an engine by: those shapes of matrix trt that it holds.

    An engine too small for any of them is measured at its own largest case.
    """
    held = largest(config, where)
    small = [
        held.but(batch=batch, prompt_len=prompt, new_tokens=_NEW)
        for batch in _BATCHES
        for prompt in _PROMPTS
        if prompt + _NEW <= config.max_seq_len
    ]
    return tuple(case for case in small if config.fits(case)) or (held,)


def matrix(cells: tuple[Case, ...]) -> str:
    """Return a matrix of these cells on a GPU, as TOML."""
    tables = []
    for case in cells:
        # A JSON text or number is a TOML one too.
        lines = [f"{key} = {json.dumps(value)}" for key, value in case.model_dump().items()]
        tables.append("[[include]]\n" + "\n".join(lines))
    return 'device = "gpu"\n\n' + "\n\n".join(tables) + "\n"
