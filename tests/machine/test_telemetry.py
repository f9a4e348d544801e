from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from perfkit.machine import sampler, telemetry
from perfkit.machine.telemetry import POWER_CAP_BIT, THROTTLE_BITS, Sampler, Window, summarise

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

ROOT = Path(telemetry.__file__).resolve().parents[2]
PATIENCE_S = 20.0
FAKE_NVML = """
from types import SimpleNamespace
nvmlMemory_v2 = 2
def nvmlInit(): pass
def nvmlDeviceGetHandleByUUID(uuid):
    assert uuid == "GPU-1"
    return 7
def nvmlDeviceGetMemoryInfo(handle, version=None):
    return SimpleNamespace(used=5000 if version == 2 else 6000)
def nvmlDeviceGetClockInfo(handle, kind): return {1: 1980, 2: 3201}[kind]
def nvmlDeviceGetPowerUsage(handle): raise RuntimeError("Not Supported")
def nvmlDeviceGetTemperature(handle, kind): return 41
def nvmlDeviceGetCurrentClocksThrottleReasons(handle): return 0x4
"""


def until(true: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    deadline = time.monotonic() + patience_s
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


def gone(pid: int) -> bool:
    """A zombie is gone too: whoever should reap it may not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_window_reduces_the_samples_inside_it() -> None:
    rows: list[dict[str, Any]] = [
        {"t": 1.0, "used_bytes": [9000], "sm_clock_mhz": [100], "throttle_bits": [0x80]},
        {"t": 2.0, "used_bytes": [300], "sm_clock_mhz": [1980], "throttle_bits": [0x4]},
        {"t": 3.0, "used_bytes": [500], "sm_clock_mhz": [1500], "throttle_bits": [0x20]},
        {"t": 4.0, "used_bytes": [400], "sm_clock_mhz": [1700], "temperature_c": [60]},
        {"t": 5.0, "used_bytes": [9000]},
    ]
    window = summarise(rows, 2.0, 4.0, 100, {"power_w": "not_supported"})
    assert window == Window(
        peak_device_bytes=400,
        peak_rss_bytes=None,
        sm_clock_mhz=(1500, 1700, 1980),
        mem_clock_mhz=None,
        power_w=None,
        temperature_c_max=60,
        throttle_bits=0x24,
        samples=3,
        absent={
            "peak_rss_bytes": "no reading in the window",
            "mem_clock_mhz": "no reading in the window",
            "power_w": "not_supported",
        },
    )


def test_several_gpus_are_read_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and power add up, the slowest clock, the hottest chip and any throttling count."""
    nvml: Any = SimpleNamespace(
        nvmlDeviceGetHandleByUUID=lambda uuid: int(uuid[-1]),
        nvmlDeviceGetMemoryInfo=lambda one: SimpleNamespace(used=1000 * one),
        nvmlDeviceGetClockInfo=lambda one, kind: 2000 - 100 * one + kind,
        nvmlDeviceGetPowerUsage=lambda one: 100_000 * one,
        nvmlDeviceGetTemperature=lambda one, _: 40 + one,
        nvmlDeviceGetCurrentClocksEventReasons=lambda one: 1 << one,
    )
    monkeypatch.setattr(sampler, "load_nvml", lambda: nvml)
    readings, absent = sampler._readings(["GPU-1", "GPU-2"], os.getpid())
    assert absent == {}
    sample, _ = sampler.take(readings)
    del sample["t"], sample["rss_bytes"]
    assert sample == {
        "used_bytes": [1000, 2000], "sm_clock_mhz": [1901, 1801], "mem_clock_mhz": [1902, 1802],
        "power_w": [100.0, 200.0], "temperature_c": [41, 42], "throttle_bits": [0b010, 0b100],
    }  # fmt: skip
    row = {"t": 1.0, **sample}
    two = summarise([row], 0.0, 2.0, 500, {}, gpus=2)
    assert (two.peak_device_bytes, two.temperature_c_max) == (2500, 42)
    assert (two.sm_clock_mhz, two.power_w) == ((1801, 1801, 1801), (300.0, 300.0, 300.0))
    assert two.throttle_bits == 0b110
    one = summarise([row], 0.0, 2.0, 500, {}, gpus=1)
    assert (one.peak_device_bytes, one.temperature_c_max, one.throttle_bits) == (500, 41, 0b010)


def test_an_empty_window_is_all_none_with_reasons() -> None:
    window = summarise([], 1.0, 1.5, 100, {"sampler": "the sampler ended with code -9"})
    assert window.samples == 0
    assert window.peak_device_bytes is None
    assert window.throttle_bits is None
    assert set(window.absent.values()) == {"the sampler ended with code -9"}
    assert len(window.absent) == 7
    silent = summarise([], 1.0, 1.5, 100, {})
    assert silent.absent["power_w"] == "no sample in a window of 0.500 s"


def test_used_memory_without_a_baseline_is_no_peak() -> None:
    window = summarise([{"t": 1.0, "used_bytes": [500]}], 0.0, 2.0, None, {})
    assert window.peak_device_bytes is None
    assert "peak_device_bytes" in window.absent


def test_throttle_bits_and_names() -> None:
    assert THROTTLE_BITS == 0xE8
    assert not THROTTLE_BITS & POWER_CAP_BIT
    assert telemetry.throttle_names(0) == ()
    assert telemetry.throttle_names(0x44) == ("sw_power_cap", "hw_thermal_slowdown")
    assert telemetry.throttle_names(0x1000) == ("0x1000",)


def test_energy_is_joules_or_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml: Any = ModuleType("pynvml")
    nvml.nvmlInit = lambda: None
    nvml.nvmlDeviceGetHandleByUUID = lambda uuid: uuid
    nvml.nvmlDeviceGetTotalEnergyConsumption = {"GPU-1": 2500}.__getitem__
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert telemetry.energy_j(("GPU-1",)) == 2.5
    del nvml.nvmlDeviceGetTotalEnergyConsumption
    assert telemetry.energy_j(("GPU-1",)) == "not_in_pynvml"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert telemetry.energy_j(("GPU-1",)) == "nvidia-ml-py is not installed"


def test_each_reading_fails_alone() -> None:
    def fail() -> int:
        message = "Not Supported"
        raise RuntimeError(message)

    sample, absent = sampler.take({"power_w": fail, "sm_clock_mhz": lambda: 1980})
    assert sample.keys() == {"t", "sm_clock_mhz"}
    assert absent == {"power_w": "not_supported"}


def test_memory_falls_back_to_the_first_version_of_the_call() -> None:
    def old(_handle: object, version: int | None = None) -> SimpleNamespace:
        if version:
            message = "Function Not Found"
            raise RuntimeError(message)
        return SimpleNamespace(used=6000)

    nvml = SimpleNamespace(nvmlMemory_v2=2, nvmlDeviceGetMemoryInfo=old)
    assert sampler.used_bytes(nvml, 0) == 6000


def test_a_real_sampler_sees_this_process() -> None:
    with Sampler.start("cpu", (), os.getpid()) as running:
        process, file, start = running._process, running._file, time.monotonic()
        assert process is not None
        assert file is not None
        assert until(lambda: running.window(start, time.monotonic()).samples >= 2)
        window = running.window(start, time.monotonic())
    assert running.baseline_bytes() is None
    assert window.peak_rss_bytes is not None
    assert 2**20 < window.peak_rss_bytes < 2**40
    assert window.absent["peak_device_bytes"] == "device_is_cpu"
    after = running.window(start, time.monotonic())
    assert after.samples >= window.samples
    assert not file.exists()
    assert process.wait() == 0
    assert "sampler" not in running._reasons


def test_a_sampler_on_a_fake_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pynvml.py").write_text(FAKE_NVML)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Sampler.start("cuda", ("GPU-1",), os.getpid()) as running:
        window = running.window(0.0, time.monotonic())
    assert running.baseline_bytes() == 5000
    assert window.peak_device_bytes == 0
    assert window.sm_clock_mhz == (1980, 1980, 1980)
    assert window.mem_clock_mhz == (3201, 3201, 3201)
    assert window.temperature_c_max == 41
    assert window.throttle_bits == POWER_CAP_BIT
    assert window.absent == {"power_w": "not_supported"}


def test_a_missing_gpu_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "gpus", lambda: ())
    monkeypatch.setattr(telemetry, "gpu_absence", lambda: "no NVIDIA driver")
    with Sampler.start("cuda", (), os.getpid()) as running:
        window = running.window(0.0, time.monotonic())
    assert running.baseline_bytes() is None
    assert window.absent["peak_device_bytes"] == "no NVIDIA driver"
    assert window.peak_rss_bytes is not None


def test_a_sampler_that_died_is_a_reason() -> None:
    with Sampler.start("cpu", (), os.getpid()) as running:
        process = running._process
        assert process is not None
        process.kill()
        process.wait()
        now = time.monotonic()
        window = running.window(now + 1.0, now + 2.0)
    assert window.samples == 0
    assert window.absent["peak_rss_bytes"] == "the sampler ended with code -9"


def test_the_last_words_of_a_sampler_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "psutil.py").write_text("raise SystemExit('no luck')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Sampler.start("cpu", (), os.getpid()) as running:
        window = running.window(0.0, time.monotonic())
    assert window.absent["peak_rss_bytes"] == "the sampler ended with code 1: no luck"


def test_a_sampler_that_cannot_start_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Sampler.start("cpu", (), os.getpid()) as running:
        window = running.window(0.0, 1.0)
    assert window.absent["peak_rss_bytes"].startswith("the sampler could not be started")


def test_the_sampler_ends_when_its_parent_dies() -> None:
    code = (
        "import os; from perfkit.machine.telemetry import Sampler;"
        "s = Sampler.start('cpu', (), os.getpid());"
        "print(s._process.pid, s._file, len(s._rows), flush=True); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    pid, file, rows = done.stdout.split()
    assert int(rows) >= 1
    assert until(lambda: gone(int(pid)))
    assert until(lambda: not Path(file).exists())
