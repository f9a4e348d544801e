"""Which machine this is: its key, its parts and their versions, found without importing torch.

What cannot be read is a reason in words ("not_supported", "not_installed"), never 0.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CPUINFO = Path("/proc/cpuinfo")
NVML_TEMPERATURE_GPU = 0
NVML_CLOCK_SM = 1
NVML_CLOCK_MEM = 2


@dataclass(frozen=True)
class Machine:
    """One machine as results name it: `key` is safe as a folder name, `fields` is plain JSON."""

    device: str
    key: str
    name: str
    fields: dict[str, object]


@dataclass(frozen=True)
class Gpu:
    """One visible GPU: `index` counts among the visible ones, memory is in bytes.

    `memory_bytes` is None where the driver does not tell it.
    """

    index: int
    uuid: str
    name: str
    memory_bytes: int | None
    compute_capability: tuple[int, int]


def identify(device: str) -> Machine:
    """Name the machine that `device` ("cpu" or "cuda") stands for; sizes are in bytes."""
    if device not in {"cpu", "cuda"}:
        message = f"device {device!r} is not known: give 'cpu' or 'cuda'"
        raise ValueError(message)
    fields = _software() | _host()
    if device == "cpu":
        fields |= dict.fromkeys(_GPU_FIELDS, "device_is_cpu")
        name = str(fields["cpu_model"])
        parts = [f"cpu-{_slug(name)}", f"{fields['logical_cores']}-cores"]
    else:
        fields |= _gpu_fields()
        name = str(fields["gpu_name"])
        parts = [_slug(name), *(f"{part}-{_slug(fields[part])}" for part in ("driver", "cuda"))]
    parts.append(f"torch-{_slug(str(fields['torch']).split('+')[0])}")
    return Machine(device=device, key="_".join(parts), name=name, fields=fields)


def gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES leaves visible; () where there is none."""
    return _probe()[0]


def gpu_absence() -> str:
    """Say in words why `gpus()` is empty or short; "" where all of it answers."""
    return _probe()[1]


def load_nvml() -> Any:
    """Return the pynvml module, initialised, or the reason in words why it cannot be used."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        return "nvidia-ml-py is not installed"
    except Exception as error:  # a broken driver raises whatever it likes
        return f"no NVIDIA driver (NVML: {_nvml_text(error)})"
    return pynvml


def attempt(call: Callable[[], Any]) -> Any:
    """Return what `call` returns, or the reason it failed as a slug such as "not_supported"."""
    try:
        return call()
    except AttributeError:
        return "not_in_pynvml"
    except Exception as error:  # one missing reading must not lose the others
        return re.sub(r"\W+", "_", _nvml_text(error).lower()).strip("_") or "failed"


def text(value: object) -> str:
    """Return `value` as text: older pynvml answers in bytes, newer in str."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _nvml_text(error: Exception) -> str:
    return str(error).removeprefix("NVML ").strip() or type(error).__name__


def _probe() -> tuple[tuple[Gpu, ...], str]:
    nvml = load_nvml()
    if isinstance(nvml, str):
        return (), nvml
    handles = attempt(lambda: _handles_by_uuid(nvml))
    if isinstance(handles, str):
        return (), f"NVML lists no GPU ({handles})"
    if not handles:
        return (), "NVML counts 0 GPUs"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = tuple(handles) if visible is None else _visible(visible, tuple(handles))
    found = [
        attempt(functools.partial(_gpu, nvml, handles[uuid], index, uuid))
        for index, uuid in enumerate(chosen)
    ]
    broken = [reason for reason in found if isinstance(reason, str)]
    if broken:
        return tuple(g for g in found if isinstance(g, Gpu)), f"NVML cannot read it ({broken[0]})"
    if not found:
        return (), f"CUDA_VISIBLE_DEVICES={visible!r} leaves none of {len(handles)} GPUs visible"
    return tuple(found), ""


def _handles_by_uuid(nvml: Any) -> dict[str, Any]:
    handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    return {text(nvml.nvmlDeviceGetUUID(handle)): handle for handle in handles}


def _visible(variable: str, uuids: Sequence[str]) -> tuple[str, ...]:
    """Read CUDA_VISIBLE_DEVICES as CUDA does: up to the first bad entry, twice the same is none.

    A number counts in PCI bus order (CUDA_DEVICE_ORDER=PCI_BUS_ID), which among equal GPUs is
    CUDA's own; a UUID may be cut short where that stays unique. MIG instances are not resolved.
    """
    chosen: list[str] = []
    for entry in (part.strip() for part in variable.split(",")):
        if entry.isdecimal():
            matches = list(uuids[int(entry) : int(entry) + 1])
        else:
            matches = [u for u in uuids if entry.startswith("GPU-") and u.startswith(entry)]
        if len(matches) != 1:
            break
        chosen += matches
    return tuple(chosen) if len(set(chosen)) == len(chosen) else ()


def _gpu(nvml: Any, handle: Any, index: int, uuid: str) -> Gpu:
    memory = attempt(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total))
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        index=index,
        uuid=uuid,
        name=text(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=memory if isinstance(memory, int) else None,
        compute_capability=(int(major), int(minor)),
    )


# What each GPU field is read with; the unit is in the name.
_GPU_FIELDS: dict[str, Callable[[Any, Any], object]] = {
    "driver": lambda n, _: text(n.nvmlSystemGetDriverVersion()),
    "gpu_name": lambda n, h: text(n.nvmlDeviceGetName(h)),
    "gpu_uuid": lambda n, h: text(n.nvmlDeviceGetUUID(h)),
    "gpu_memory_bytes": lambda n, h: int(n.nvmlDeviceGetMemoryInfo(h).total),
    "gpu_compute_capability": lambda n, h: "{}.{}".format(*n.nvmlDeviceGetCudaComputeCapability(h)),
    "gpu_sm_clock_max_mhz": lambda n, h: int(n.nvmlDeviceGetMaxClockInfo(h, NVML_CLOCK_SM)),
    "gpu_power_limit_w": lambda n, h: n.nvmlDeviceGetEnforcedPowerLimit(h) / 1000,
    "gpu_ecc": lambda n, h: "on" if n.nvmlDeviceGetEccMode(h)[0] else "off",
    "gpu_mig": lambda n, h: "on" if n.nvmlDeviceGetMigMode(h)[0] else "off",
}


def _gpu_fields() -> dict[str, object]:
    visible, absence = _probe()
    nvml = load_nvml()
    if not visible or isinstance(nvml, str):
        missing: dict[str, object] = dict.fromkeys(_GPU_FIELDS, absence)
        return missing | {"gpu_name": "no-gpu", "driver": "absent"}
    handle = attempt(lambda: nvml.nvmlDeviceGetHandleByUUID(visible[0].uuid))
    return {
        field: attempt(functools.partial(read, nvml, handle)) for field, read in _GPU_FIELDS.items()
    }


def _software() -> dict[str, object]:
    versions = {name: _version(name) for name in ("torch", "transformers", "triton")}
    return {"python": platform.python_version(), **versions, "cuda": _torch_cuda()}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not_installed"


def _torch_cuda() -> str:
    """Return the CUDA version torch was built for, read as text: importing torch takes seconds."""
    try:
        spec = importlib.util.find_spec("torch")
        origin = spec.origin if spec else None
        source = Path(origin).with_name("version.py").read_text("utf-8") if origin else ""
    except (OSError, ValueError, ImportError):
        source = ""
    return cuda_version(source) if source else "not_installed"


def cuda_version(version_py: str) -> str:
    """Return the CUDA version in the text of torch/version.py, "cpu_build" where it is None."""
    line = re.search(r"^cuda\b[^=\n]*=\s*['\"]([^'\"]+)['\"]", version_py, re.MULTILINE)
    return line.group(1) if line else "cpu_build"


def _host() -> dict[str, object]:
    cpuinfo = attempt(lambda: CPUINFO.read_text("utf-8")) if CPUINFO.exists() else ""
    cpus = _cpus()
    return {
        "cpu_model": _cpu_model(cpuinfo),
        "logical_cores": len(cpus),
        "physical_cores": physical_cores(cpuinfo, cpus),
        "ram_bytes": attempt(lambda: os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
    }


def _cpus() -> frozenset[int]:
    """Return the CPUs this process may run on, which a container may cut below the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _cpu_model(cpuinfo: str) -> str:
    line = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    model = line.group(1) if line else platform.processor() or platform.machine()
    return model.strip() or "unknown"


def physical_cores(cpuinfo: str, cpus: frozenset[int]) -> int | str:
    """Count the cores of /proc/cpuinfo's text that `cpus` lie on; two threads share one."""
    cores: set[tuple[str, str]] = set()
    for block in cpuinfo.split("\n\n"):
        lines = (line.partition(":") for line in block.splitlines())
        facts = {key.strip(): value.strip() for key, _, value in lines}
        if facts.get("processor", "").isdecimal() and int(facts["processor"]) in cpus:
            if "core id" not in facts:
                return "not_reported"
            cores.add((facts.get("physical id", ""), facts["core id"]))
    return len(cores) or "not_reported"


def _slug(value: object) -> str:
    plain = re.sub(r"\((?:r|tm|c)\)", " ", str(value).lower())
    return re.sub(r"[^a-z0-9.]+", "-", plain).strip("-.") or "unknown"
