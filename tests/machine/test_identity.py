from __future__ import annotations

import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from perfkit.machine import identity

UUIDS = ("GPU-aaaa1111", "GPU-aabb2222", "GPU-cccc3333")


class NotSupportedError(Exception):
    def __str__(self) -> str:
        return "Not Supported"


def refuse(*_: Any) -> Any:
    raise NotSupportedError


def fake_nvml() -> ModuleType:
    nvml: Any = ModuleType("pynvml")
    nvml.nvmlInit = lambda: None
    nvml.nvmlDeviceGetCount = lambda: len(UUIDS)
    nvml.nvmlDeviceGetHandleByIndex = lambda index: index
    nvml.nvmlDeviceGetHandleByUUID = UUIDS.index
    nvml.nvmlDeviceGetUUID = lambda handle: UUIDS[handle]
    nvml.nvmlDeviceGetName = lambda _: b"NVIDIA H200"
    nvml.nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(total=1000 + handle)
    nvml.nvmlDeviceGetCudaComputeCapability = lambda _: (9, 0)
    nvml.nvmlSystemGetDriverVersion = lambda: "580.159.04"
    nvml.nvmlDeviceGetMaxClockInfo = lambda _handle, _kind: 1980
    nvml.nvmlDeviceGetEnforcedPowerLimit = lambda _: 700_000
    nvml.nvmlDeviceGetEccMode = lambda _: (1, 1)
    nvml.nvmlDeviceGetMigMode = refuse
    return nvml  # type: ignore[no-any-return]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    fake = fake_nvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("2,0", (2, 0)),
        (" 1 ", (1,)),
        ("GPU-cccc3333,GPU-aaaa1111", (2, 0)),
        ("GPU-c", (2,)),
        ("GPU-aa", ()),  # two GPUs begin so
        ("", ()),
        ("-1", ()),
        ("1,-1,0", (1,)),  # up to the first bad entry
        ("0,7,1", (0,)),
        ("0,0", ()),
        ("MIG-aaaa1111", ()),
    ],
)
@pytest.mark.usefixtures("nvml")
def test_cuda_visible_devices_chooses_by_index_and_uuid(
    monkeypatch: pytest.MonkeyPatch, visible: str, expected: tuple[int, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = identity.gpus()
    assert [gpu.uuid for gpu in found] == [UUIDS[i] for i in expected]
    assert [gpu.index for gpu in found] == list(range(len(expected)))
    assert (identity.gpu_absence() == "") == bool(expected)


@pytest.mark.usefixtures("nvml")
def test_without_the_variable_all_gpus_are_visible() -> None:
    assert identity.gpus()[1] == identity.Gpu(1, UUIDS[1], "NVIDIA H200", 1001, (9, 0))
    assert len(identity.gpus()) == 3


def test_unreadable_memory_is_none_and_keeps_the_gpu(nvml: Any) -> None:
    nvml.nvmlDeviceGetMemoryInfo = refuse
    assert [gpu.memory_bytes for gpu in identity.gpus()] == [None, None, None]


def test_a_missing_driver_is_a_reason(nvml: Any) -> None:
    def init() -> None:
        message = "Driver Not Loaded"
        raise RuntimeError(message)

    nvml.nvmlInit = init
    assert identity.gpus() == ()
    assert identity.gpu_absence() == "no NVIDIA driver (NVML: Driver Not Loaded)"
    machine = identity.identify("cuda")
    assert machine.name == "no-gpu"
    assert machine.fields["gpu_uuid"] == "no NVIDIA driver (NVML: Driver Not Loaded)"


def test_a_missing_pynvml_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert identity.gpus() == ()
    assert identity.gpu_absence() == "nvidia-ml-py is not installed"


@pytest.mark.usefixtures("nvml")
def test_identity_of_a_gpu_describes_the_first_visible_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {"torch": "2.11.0+cu130", "triton": "3.6.0", "transformers": "not_installed"}
    monkeypatch.setattr(identity, "_version", versions.__getitem__)
    monkeypatch.setattr(identity, "_torch_cuda", lambda: "13.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    machine = identity.identify("cuda")
    assert machine.key == "nvidia-h200_driver-580.159.04_cuda-13.0_torch-2.11.0"
    assert machine.fields["torch"] == "2.11.0+cu130"
    assert machine.fields["gpu_uuid"] == "GPU-cccc3333"
    assert machine.fields["gpu_memory_bytes"] == 1002
    assert machine.fields["gpu_compute_capability"] == "9.0"
    assert machine.fields["gpu_power_limit_w"] == 700.0
    assert machine.fields["gpu_ecc"] == "on"
    assert machine.fields["gpu_mig"] == "not_supported"


def test_identity_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_cpu_model", lambda _: "Intel(R) Xeon(R) CPU @ 2.20GHz")
    monkeypatch.setattr(identity, "_cpus", lambda: frozenset({0, 1}))
    monkeypatch.setattr(identity, "_version", lambda _: "2.13.0+cpu")
    machine = identity.identify("cpu")
    assert machine.key == "cpu-intel-xeon-cpu-2.20ghz_2-cores_torch-2.13.0"
    assert machine.fields["gpu_name"] == "device_is_cpu"
    assert isinstance(machine.fields["ram_bytes"], int)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ValueError, match="'tpu' is not known: give 'cpu' or 'cuda'"):
        identity.identify("tpu")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cuda: Optional[str] = '13.0'", "13.0"),
        ("cuda = '12.8'", "12.8"),
        ("cuda: Optional[str] = None", "cpu_build"),
    ],
)
def test_the_cuda_version_is_read_from_text(line: str, expected: str) -> None:
    text = f"__version__ = '2.11.0+cu130'\ndebug = False\n{line}\nhip: Optional[str] = '6'\n"
    assert identity.cuda_version(text) == expected


def test_two_threads_share_a_physical_core() -> None:
    cpus = [(0, 0, 0), (1, 0, 0), (2, 0, 1), (3, 1, 0)]
    cpuinfo = "\n\n".join(
        f"processor\t: {cpu}\nphysical id\t: {socket}\ncore id\t\t: {core}"
        for cpu, socket, core in cpus
    )
    assert identity.physical_cores(cpuinfo, frozenset({0, 1})) == 1
    assert identity.physical_cores(cpuinfo, frozenset({0, 1, 2, 3})) == 3
    assert identity.physical_cores("processor : 0\n", frozenset({0})) == "not_reported"
    assert identity.physical_cores("", frozenset({0})) == "not_reported"


def test_identity_does_not_import_torch() -> None:
    code = (
        "import sys; from perfkit.machine.identity import identify, gpus;"
        "identify('cpu'); identify('cuda'); gpus(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
