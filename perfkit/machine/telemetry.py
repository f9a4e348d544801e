"""Memory, clocks, power and throttling over a window of time, sampled by a second process."""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from perfkit.machine.identity import attempt, gpu_absence, gpus, load_nvml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

THROTTLE_BITS = 0x8 | 0x20 | 0x40 | 0x80
POWER_CAP_BIT = 0x4
FIRST_SAMPLE_S = 10.0
ROOT = Path(__file__).resolve().parents[2]

_BIT_NAMES = {
    0x1: "gpu_idle",
    0x2: "applications_clocks",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clocks",
}
# Which reading of a sample each figure of a window is made from.
_READING_OF = {
    "peak_device_bytes": "used_bytes",
    "peak_rss_bytes": "rss_bytes",
    "sm_clock_mhz": "sm_clock_mhz",
    "mem_clock_mhz": "mem_clock_mhz",
    "power_w": "power_w",
    "temperature_c_max": "temperature_c",
    "throttle_bits": "throttle_bits",
}

# The sampler reads 20 times a second: a shorter window may hold no sample at all.
SHORTEST_WINDOW_S = 0.15
Spread = tuple[float, float, float]


@dataclass(frozen=True)
class Window:
    """What the samples of one window say; spreads are (min, median, max).

    `peak_device_bytes` is the GPU's used memory minus the reading before CUDA was initialised.
    `throttle_bits` is every bit seen at least once. `absent` has the reason for each None.
    """

    peak_device_bytes: int | None
    peak_rss_bytes: int | None
    sm_clock_mhz: Spread | None
    mem_clock_mhz: Spread | None
    power_w: Spread | None
    temperature_c_max: float | None
    throttle_bits: int | None
    samples: int
    absent: dict[str, str]


# How a figure is made of the readings of several GPUs at one moment.
_TOGETHER: dict[str, Callable[[Sequence[Any]], Any]] = {
    "used_bytes": sum,
    "sm_clock_mhz": min,
    "mem_clock_mhz": min,
    "power_w": sum,
    "temperature_c": max,
    "throttle_bits": partial(functools.reduce, operator.or_),
}


def summarise(
    rows: Sequence[Mapping[str, Any]],
    t0: float,
    t1: float,
    baseline_bytes: int | None,
    reasons: Mapping[str, str],
    gpus: int = 1,
) -> Window:
    """Reduce the samples stamped in [t0, t1] (s) of the first `gpus` GPUs.

    Memory and power add up; the slowest clock, the hottest chip and any throttling count. `reasons`
    says why a reading is missing.
    """
    inside = [row for row in rows if t0 <= row["t"] <= t1]
    seen = {
        figure: [_together(reading, row[reading], gpus) for row in inside if reading in row]
        for figure, reading in _READING_OF.items()
    }
    if baseline_bytes is None:
        seen["peak_device_bytes"] = []
    bits = 0
    for value in seen["throttle_bits"]:
        bits |= value
    used, rss = seen["peak_device_bytes"], seen["peak_rss_bytes"]
    silent = reasons.get("sampler") or (
        "no reading in the window" if inside else f"no sample in a window of {t1 - t0:.3f} s"
    )
    return Window(
        peak_device_bytes=max(used) - (baseline_bytes or 0) if used else None,
        peak_rss_bytes=max(rss) if rss else None,
        sm_clock_mhz=_spread(seen["sm_clock_mhz"]),
        mem_clock_mhz=_spread(seen["mem_clock_mhz"]),
        power_w=_spread(seen["power_w"]),
        temperature_c_max=max(seen["temperature_c_max"], default=None),
        throttle_bits=bits if seen["throttle_bits"] else None,
        samples=len(inside),
        absent={f: reasons.get(_READING_OF[f], silent) for f, values in seen.items() if not values},
    )


def _together(reading: str, values: Any, gpus: int) -> Any:
    together = _TOGETHER.get(reading)
    return values if together is None else together(values[:gpus])


def _spread(values: Sequence[float]) -> Spread | None:
    return (min(values), statistics.median(values), max(values)) if values else None


def throttle_names(bits: int) -> tuple[str, ...]:
    """Name each bit of NVML's clock event reasons, lowest first; unknown ones in hex."""
    places = [1 << place for place in range(bits.bit_length()) if bits >> place & 1]
    return tuple(_BIT_NAMES.get(bit, hex(bit)) for bit in places)


def energy_j(uuids: Sequence[str]) -> float | str:
    """Return the GPUs' energy counters together, in J, or why there is no such reading."""
    if not uuids:
        return "no GPU"
    nvml = load_nvml()
    if isinstance(nvml, str):
        return nvml
    total = 0.0
    for uuid in uuids:
        value = attempt(functools.partial(_energy_mj, nvml, uuid))
        if isinstance(value, str):
            return value
        total += float(value) / 1000
    return total


def _energy_mj(nvml: Any, uuid: str) -> int:
    return int(nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByUUID(uuid)))


@dataclass
class Sampler:
    """A running sampling process; start it before CUDA is initialised, close it at the end."""

    _baseline: list[int] | None = None
    _file: Path | None = None
    _errors: IO[bytes] | None = None
    _process: subprocess.Popen[bytes] | None = None
    _reasons: dict[str, str] = field(default_factory=dict)
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _read_to: int = 0

    @classmethod
    def start(cls, device: str, uuids: Sequence[str], pid: int) -> Self:
        """Watch `pid`, and on "cuda" these GPUs together (the first visible one if none is named).

        Waits up to 10 s for the first sample; what goes wrong becomes a reason in each window.
        """
        sampler = cls()
        if device == "cuda" and not uuids:
            uuids = tuple(gpu.uuid for gpu in gpus()[:1])
            if not uuids:
                sampler._reasons["used_bytes"] = gpu_absence()
        try:
            sampler._spawn(uuids if device == "cuda" else (), pid)
        except OSError as error:
            sampler._reasons["sampler"] = f"the sampler could not be started: {error}"
        sampler._wait_first()
        return sampler

    def window(self, t0: float, t1: float, gpus: int = 1) -> Window:
        """Summarise the first `gpus` GPUs' samples between two time.monotonic() stamps, in s."""
        self._update()
        return summarise(self._rows, t0, t1, self.baseline_bytes(gpus), self._reasons, gpus)

    def baseline_bytes(self, gpus: int = 1) -> int | None:
        """Return the used memory of the first `gpus` GPUs at the start; None if it is not known."""
        return None if self._baseline is None else sum(self._baseline[:gpus])

    def close(self) -> None:
        """End the process and remove its file; windows already sampled can still be asked for."""
        process, self._process = self._process, None
        if process is not None:
            self._note_death(process)
            process.terminate()
            try:
                process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._read()
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def __enter__(self) -> Self:
        """Return the sampler itself: it runs since `start`."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the sampler."""
        self.close()

    def _spawn(self, uuids: Sequence[str], pid: int) -> None:
        number, name = tempfile.mkstemp(prefix="perfkit-sampler-", suffix=".jsonl")
        os.close(number)
        self._file = Path(name)
        self._errors = tempfile.TemporaryFile()  # close() closes it  # noqa: SIM115
        command = [sys.executable, "-m", "perfkit.machine.sampler", "--pid", str(pid)]
        command += ["--parent", str(os.getpid()), "--file", name, "--remove"]
        command += [f"--uuid={uuid}" for uuid in uuids]
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C ends the run first; the sampler ends with it
        )

    def _wait_first(self) -> None:
        deadline = time.monotonic() + FIRST_SAMPLE_S
        while self._process and not self._rows and "sampler" not in self._reasons:
            self._update()
            if time.monotonic() > deadline:
                self._reasons["sampler"] = f"no first sample within {FIRST_SAMPLE_S:.0f} s"
            time.sleep(0.01)
        if self._rows:
            self._baseline = self._rows[0].get("used_bytes")

    def _update(self) -> None:
        if self._process is not None:
            self._note_death(self._process)
        self._read()

    def _note_death(self, process: subprocess.Popen[bytes]) -> None:
        code = process.poll()
        if code is None or "sampler" in self._reasons or self._errors is None:
            return
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").splitlines()
        last = f": {lines[-1]}" if lines else ""
        self._reasons["sampler"] = f"the sampler ended with code {code}{last}"

    def _read(self) -> None:
        """Take in the whole lines written since the last call."""
        if self._file is None:
            return
        with contextlib.suppress(OSError), self._file.open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_to += len(line)
                record = json.loads(line)
                if "t" in record:
                    self._rows.append(record)
                else:
                    self._reasons = record["absent"] | self._reasons
