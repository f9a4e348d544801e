"""Engines on disk: built once in a process of their own, looked through, kept under a key."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.backends.apart.process import EngineProcess, Limits
from perfkit.backends.engine import ApartError
from perfkit.backends.tensorrt_llm import logs
from perfkit.backends.tensorrt_llm.arguments import differences, to_build
from perfkit.backends.tensorrt_llm.launch import command, environment
from perfkit.inputs.checkpoint import digest, whole

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.backends.tensorrt_llm.arguments import Arguments
    from perfkit.backends.tensorrt_llm.config import EngineConfig
    from perfkit.backends.tensorrt_llm.versions import Api
    from perfkit.machine.identity import Gpu

_NOTE = "perfkit.json"


@dataclass(frozen=True)
class Built:
    """An engine's folder, what building it took in seconds, and whether it was there already."""

    folder: Path
    build_s: float
    cached: bool


def engine(
    api: Api,
    config: EngineConfig,
    model: Path,
    gpu: Gpu,
    cache: Path,
    *,
    logits: bool = False,
    limits: Limits | None = None,
) -> Built:
    """Return the engine of ``config`` for this version and GPU, built if the cache has none.

    ``model`` is the folder of its weights; ``logits`` asks for the twin that gathers context
    logits. Raises ApartError where it cannot be built, or was built otherwise than asked; nothing
    half-built stays behind.
    """
    weights = f"{config.weights}:{digest(model)}" + (":logits" if logits else "")
    key = config.key(api.version, gpu.name, gpu.compute_capability, weights)
    place = cache / "engines" / key
    asked = to_build(api, config, str(model), logits=logits)
    cached = (place / _NOTE).is_file()
    if not cached:
        # Whole engines have the note; without it this is none.
        shutil.rmtree(place, ignore_errors=True)
        with whole(place) as made:
            note = _build(api, config, asked, made, limits or Limits())
            (made / _NOTE).write_text(json.dumps(note, indent=1))
    try:
        _look_through(asked, place)
    except ApartError as error:
        shutil.rmtree(place, ignore_errors=True)
        raise ApartError(error.verdict, f"{error}; removed, so that it is built anew") from None
    note = json.loads((place / _NOTE).read_text(encoding="utf-8"))
    return Built(place, float(note["build_s"]), cached)


def _build(
    api: Api, config: EngineConfig, asked: Arguments, made: Path, limits: Limits
) -> dict[str, Any]:
    start = time.monotonic()
    process = EngineProcess(command(config.tp), environment(), limits, logs.failure)
    try:
        process.call("build", limits.build_s, {"arguments": asked.to_json(), "folder": str(made)})
        took = time.monotonic() - start
        log = process.read_log()
    finally:
        process.close()
    fell_back = logs.fell_back(log)
    if config.fmha and fell_back is not None:
        # Said as an engine is built, and not again by those that load it.
        raise ApartError("unsupported", f"asked for fused attention, the build says: {fell_back}")
    _look_through(asked, made)
    return {
        "build_s": took,
        "version": api.version,
        "config": config.model_dump(),
        "python": sys.version.split()[0],
        "memory": logs.memory(log, config.tp),
    }


def _look_through(asked: Arguments, place: Path) -> None:
    """Raise ApartError where config.json says that something else was built."""
    try:
        built = json.loads((place / "config.json").read_text(encoding="utf-8"))
        wrong = differences(asked, built)
    except (OSError, ValueError, AttributeError) as error:
        raise ApartError("crash", f"{place / 'config.json'} is no engine config: {error}") from None
    if wrong:
        raise ApartError("unsupported", f"built otherwise than asked: {'; '.join(wrong)}")
    missing = [
        name
        for name in (f"rank{rank}.engine" for rank in range(asked.llm["tensor_parallel_size"]))
        if not (place / name).is_file()
    ]
    if missing:
        raise ApartError("crash", f"{place} lacks {', '.join(missing)}")
