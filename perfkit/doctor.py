"""What this machine can run, and why the rest would skip."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import shutil
from typing import TYPE_CHECKING

from perfkit.backends.tensorrt_llm import versions
from perfkit.backends.tensorrt_llm.launch import python
from perfkit.cases import Case
from perfkit.errors import UsageError
from perfkit.machine.identity import gpu_absence, gpus, identify
from perfkit.machine.requirements import missing_gpus
from perfkit.paths import matrices
from perfkit.plan import load_plan

if TYPE_CHECKING:
    from rich.table import Table

    from perfkit.machine.identity import Gpu

_PACKAGES = ("torch", "transformers", "pytest-benchmark", "triton")


def report() -> Table:
    """Return a table: what was looked at, whether it is there, and what follows."""
    from rich.table import Table

    found = gpus()
    machine = identify("cuda" if found else "cpu")
    table = Table(title=f"{machine.name}  ({machine.key})")
    for heading in ("part", "state", "what follows"):
        table.add_column(heading, overflow="fold")
    parts = (
        _packages(),
        _tensorrt_llm(),
        _hardware(found),
        _precisions(found),
        _attention(found),
        _matrices(found),
    )
    for row in itertools.chain(*parts):
        table.add_row(*row)
    return table


def _packages() -> list[tuple[str, str, str]]:
    rows = []
    for name in _PACKAGES:
        try:
            rows.append((name, importlib.metadata.version(name), ""))
        except importlib.metadata.PackageNotFoundError:
            follows = {"triton": "no Triton kernels; expected without a GPU"}.get(
                name, "install it: make install"
            )
            rows.append((name, "[yellow]absent[/]", follows))
    return rows


def _tensorrt_llm() -> list[tuple[str, str, str]]:
    """Return its version, and for each backend whether that version has its API."""
    from rich.markup import escape

    try:
        version = versions.installed()
    except UsageError as error:
        return [("tensorrt_llm", "[yellow]absent[/]", escape(str(error)))]
    if version is None:
        return [("tensorrt_llm", "[yellow]absent[/]", "pytest -m trt skips")]
    rows = [("tensorrt_llm", version, f"by {python()}")]
    for name, found in (
        ("trtllm-engine", versions.engine_api(version)),
        ("trtllm-pytorch", versions.pytorch_api(version)),
    ):
        if isinstance(found, str):
            rows.append((name, "[yellow]skips[/]", escape(found)))
        else:
            rows.append((name, "runs", f"from {found.module} import LLM"))
    return rows


def _hardware(found: tuple[Gpu, ...]) -> list[tuple[str, str, str]]:
    rows = [("GPU", gpu.name, f"{gpu.uuid}") for gpu in found]
    if not found:
        rows.append(("GPU", "[yellow]none[/]", f"pytest -m gpu skips: {gpu_absence()}"))
    compiler = shutil.which("g++")
    follows = "" if compiler else "torch-compile runs its loop uncompiled on the CPU"
    rows.append(("C++ compiler", compiler or "[yellow]absent[/]", follows))
    return rows


def _precisions(found: tuple[Gpu, ...]) -> list[tuple[str, str, str]]:
    if importlib.util.find_spec("torch") is None:
        return []
    from perfkit.backends import backend

    rows = []
    for precision in ("fp32", "bf16", "fp16", "bf16-int8", "bf16-fp8"):
        case = Case(backend="torch-eager", model="llama-tiny", precision=precision, batch=1,
                    prompt_len=1, new_tokens=1)  # fmt: skip
        reason = backend(case.backend).unsupported(case, "cuda" if found else "cpu")
        rows.append((precision, "[yellow]unsupported[/]" if reason else "runs", reason or ""))
    return rows


def _attention(found: tuple[Gpu, ...]) -> list[tuple[str, str, str]]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch
    from rich.markup import escape

    from perfkit.attention import registry

    device = torch.device("cuda" if found else "cpu")
    rows = []
    for name in registry.NAMES:
        reason = registry.provider(name).unavailable(device)
        state = "[yellow]skips[/]" if reason else "runs"
        rows.append((f"attention {name}", state, escape(reason or "")))
    return rows


def _matrices(found: tuple[Gpu, ...]) -> list[tuple[str, str, str]]:
    rows = []
    for name in matrices():
        cells = load_plan([name])
        reason = None
        if cells[0].device == "gpu":
            absence = "" if found else gpu_absence()
            most = max(cell.case.tp for cell in cells)
            reason = missing_gpus(found, absence, n=most, min_mem_gib=cells[0].min_mem_gib)
        state = "[yellow]skips[/]" if reason else "runs"
        rows.append((f"matrix {name}", state, reason or f"{len(cells)} cells"))
    return rows
