"""What this machine can do at best: matrix products, copying and reading memory.

Every ceiling is measured, never taken from a datasheet; `judge` says when one was measured badly.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from perfkit.machine.windows import device_times, host_times, product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

GIB = 2**30
H200 = "NVIDIA H200"
H200_BF16_FLOP_PER_S = 750e12
H200_COPY_BYTES_PER_S = 4000e9
GPU_WORDS = ("nvidia", "tesla", "geforce", "quadro")


@dataclass(frozen=True)
class Ceilings:
    """FLOP/s per precision and bytes/s of copy and read; what failed is NaN, with a reason.

    `verdict` is "ok", or "INVALID" where any of `reasons` says that a ceiling is not to be used.
    """

    gemm_flop_per_s: dict[str, float]
    copy_bytes_per_s: float
    read_bytes_per_s: float
    verdict: str
    reasons: tuple[str, ...]
    method: dict[str, object]

    def to_json(self) -> dict[str, object]:
        """Return a plain JSON object, null where a ceiling was not measured."""
        record = asdict(self)
        for key in ("copy_bytes_per_s", "read_bytes_per_s"):
            record[key] = None if math.isnan(record[key]) else record[key]
        return record | {"reasons": list(self.reasons)}


@dataclass(frozen=True)
class Sizes:
    """How much to measure: `gemm_n` 0 grows the product until it takes `gemm_min_s`.

    `window_s` is how long one timed window lasts at least; the best of `windows` counts.
    `buffer_bytes` is a power of two: the views and the tiles of the read kernels divide it.
    """

    gemm_n: int = 0
    gemm_min_s: float = 0.2
    buffer_bytes: int = GIB
    windows: int = 3
    window_s: float = 0.0


CPU = Sizes()
# Longer bf16 windows run into an H200's power cap and measure that (0.3 s: 700 TFLOP/s, 0.03 s: see
# the committed baselines); the pause before each lets the board come back to its clocks.
CUDA = Sizes(gemm_n=8192, buffer_bytes=4 * GIB, windows=8, window_s=0.03)
_PAUSE_S = 0.15
# Reads and copies are short and steady; a tenth of a GEMM's window tells them apart well enough.
CUDA_MEMORY_WINDOW_S = 0.02


@dataclass(frozen=True)
class _Bench:
    """What every measurement here needs: torch itself, the device, how to time, how much."""

    torch: Any
    device: str
    sizes: Sizes

    def times(
        self, call: Callable[[], object], window_s: float, pause_s: float = 0.0
    ) -> list[float]:
        """Return the seconds one call takes, once per window, idle for `pause_s` before each."""
        if self.device == "cuda":
            return device_times(call, window_s, self.sizes.windows, pause_s)
        return host_times(call, window_s, self.sizes.windows)


def measure(device: str, precisions: Sequence[str], sizes: Sizes | None = None) -> Ceilings:
    """Measure the ceilings of `device` ("cpu" or "cuda") for fp32, fp16, bf16; never raises."""
    missing = _absence(device)
    if missing:
        return Ceilings({}, math.nan, math.nan, "INVALID", (missing,), {})
    import torch

    bench = _Bench(torch, device, sizes or (CUDA if device == "cuda" else CPU))
    method: dict[str, object] = {"sizes": asdict(bench.sizes), "device": device}
    failures: list[str] = []
    gemm: dict[str, float] = {}
    wanted = [p for p in precisions if not (device == "cpu" and p == "fp16")]
    for precision in wanted:
        with _kept(failures, f"gemm {precision}"):
            gemm[precision], method[f"gemm_{precision}"] = _gemm(bench, precision)
    _release(bench)
    rates = {"copy": math.nan, "read": math.nan}
    with _kept(failures, "copy and read"):
        _memory(bench, rates, method, failures)
    _release(bench)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    reasons = (*failures, *judge(name, gemm, rates["copy"], rates["read"]))
    verdict = "INVALID" if reasons else "ok"
    return Ceilings(gemm, rates["copy"], rates["read"], verdict, reasons, method)


def judge(name: str, gemm: Mapping[str, float], copy: float, read: float) -> tuple[str, ...]:
    """Say why these ceilings (FLOP/s, bytes/s) of the machine `name` cannot be right; () if none.

    Caches let a CPU copy seem faster than a read, so that rule holds for GPUs only.
    """
    reasons = [
        f"{what} was not measured"
        for what, rate in (("copy", copy), ("read", read))
        if math.isnan(rate)
    ]
    bf16 = gemm.get("bf16")
    on_h200 = name.strip() == H200
    if on_h200 and bf16 is not None and bf16 < H200_BF16_FLOP_PER_S:
        reasons.append(f"bf16 GEMM {bf16 / 1e12:.1f} TFLOP/s is under 750 on an H200")
    if on_h200 and copy < H200_COPY_BYTES_PER_S:
        reasons.append(f"copy {copy / 1e9:.0f} GB/s is under 4000 on an H200")
    if any(word in name.lower() for word in GPU_WORDS) and read < copy:
        reasons.append(f"read {read / 1e9:.0f} GB/s is under copy {copy / 1e9:.0f} GB/s")
    return tuple(reasons)


def _absence(device: str) -> str:
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"torch cannot be imported ({_brief(error)})"
    if device == "cuda" and not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return ""


@contextlib.contextmanager
def _kept(failures: list[str], what: str) -> Iterator[None]:
    """Turn what goes wrong inside into one line of `failures`: the other ceilings still count."""
    try:
        yield
    except Exception as error:  # out of memory, a broken kernel, a bad precision
        failures.append(f"{what} failed: {_brief(error)}")


def _brief(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _release(bench: _Bench) -> None:
    if bench.device == "cuda":
        bench.torch.cuda.synchronize()
        bench.torch.cuda.empty_cache()


def _gemm(bench: _Bench, precision: str) -> tuple[float, dict[str, object]]:
    """Return FLOP/s and how: 2 n^3 / the best window's seconds a product."""
    with _without_tf32(bench, precision):
        if bench.sizes.gemm_n:
            n = bench.sizes.gemm_n
            times = bench.times(product(bench.device, n, precision), bench.sizes.window_s, _PAUSE_S)
        else:
            n, times = _grown(bench, precision)
    return 2 * n**3 / min(times), {"n": n, "times_s": times}


def _grown(bench: _Bench, precision: str) -> tuple[int, list[float]]:
    """Double n from 512 until one product takes long enough, but stop short of about 1 s."""
    n = 512
    product(bench.device, n, precision)()  # the first product of all pays for threads and code
    while True:
        multiply = product(bench.device, n, precision)
        (once,) = host_times(multiply, 0.0, 1)
        # Doubling n makes a product eight times as long.
        if once > bench.sizes.gemm_min_s or once * 8 > 1.0:
            break
        n *= 2
    more = bench.sizes.windows - 1 if once < bench.sizes.gemm_min_s * 2 else 1
    return n, [once, *host_times(multiply, 0.0, more)]


@contextlib.contextmanager
def _without_tf32(bench: _Bench, precision: str) -> Iterator[None]:
    """Hold TF32 off: an fp32 ceiling in TF32 would be another precision's."""
    if bench.device != "cuda" or precision != "fp32":
        yield
        return
    matmul = bench.torch.backends.cuda.matmul
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer torch tells of a newer switch
        before = matmul.allow_tf32
        matmul.allow_tf32 = False
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matmul.allow_tf32 = before


def _memory(
    bench: _Bench, rates: dict[str, float], method: dict[str, object], failures: list[str]
) -> None:
    """Fill in the rates of copy (bytes read and written) and read (bytes read), in bytes/s."""
    torch = bench.torch
    buffer_bytes = _buffer_bytes(bench)
    method["buffer_bytes"] = buffer_bytes
    window_s = CUDA_MEMORY_WINDOW_S if bench.device == "cuda" else 0.0
    # One random MiB of words over and over: drawing a GiB of them takes a CPU seconds.
    count = buffer_bytes // 4
    some = torch.randn(min(count, 2**20), device=bench.device)
    source = some.repeat(count // some.numel())
    with _kept(failures, "copy"):
        times = _copy_times(bench, source, window_s)
        rates["copy"] = 2 * buffer_bytes / min(times)
        method["copy_times_s"] = times
    with _kept(failures, "read"):
        times_of = _read_times(bench, source, window_s, method)
        winner = min(times_of, key=lambda name: min(times_of[name]))
        rates["read"] = buffer_bytes / min(times_of[winner])
        method["read_kernel"] = winner
        method["read_best_s"] = {name: min(times) for name, times in times_of.items()}


def _copy_times(bench: _Bench, source: Any, window_s: float) -> list[float]:
    target = bench.torch.empty_like(source)
    target.copy_(source)  # a first copy pays for the pages of the new buffer
    return bench.times(lambda: target.copy_(source), window_s)


def _buffer_bytes(bench: _Bench) -> int:
    """Halve the buffers until two of them leave a GPU some room, but not under 1 GiB."""
    size = bench.sizes.buffer_bytes
    if bench.device == "cuda":
        free, _ = bench.torch.cuda.mem_get_info()
        while size > GIB and 2 * size > 0.8 * free:
            size //= 2
    return size


def _read_times(
    bench: _Bench, source: Any, window_s: float, method: dict[str, object]
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    for name, kernel in _torch_reads(bench, source).items():
        times[name] = bench.times(kernel, window_s)
    if bench.device == "cuda":
        try:
            _triton_reads(bench, source, window_s, times)
            method["triton_read"] = "ok"
        except Exception as error:  # what was timed before still counts
            method["triton_read"] = _brief(error)
    return times


def _torch_reads(bench: _Bench, source: Any) -> dict[str, Callable[[], object]]:
    torch = bench.torch
    rows = source.view(-1, min(8192, source.numel()))
    reads: dict[str, Callable[[], object]] = {
        "sum_fp32": source.sum,
        "amax_fp32": source.amax,
        "row_sum_fp32": lambda: rows.sum(dim=1),
    }
    if bench.device == "cuda":  # a CPU converts these through a copy, which takes seconds
        words, halves = source.view(torch.int32), source.view(torch.bfloat16)
        reads |= {
            "sum_int32": words.sum,
            "amax_int32": words.amax,
            "sum_bf16_to_fp32": lambda: halves.sum(dtype=torch.float32),
        }
    return reads


def _triton_reads(
    bench: _Bench, source: Any, window_s: float, times: dict[str, list[float]]
) -> None:
    """Time our own kernel in every configuration, each checked against torch's sum first."""
    from perfkit.machine import read_kernel

    torch = bench.torch
    words = source.view(torch.int32)
    sms = torch.cuda.get_device_properties(source.device).multi_processor_count
    tried = read_kernel.configs(sms, words.numel())
    most = max(config.programs for config in tried)
    partial = torch.empty(most, dtype=torch.int32, device=source.device)
    for config in tried:
        if not read_kernel.verify(words, partial, config):
            message = f"{config} disagrees with torch's sum"
            raise RuntimeError(message)
        name = f"triton_{config}"
        times[name] = bench.times(
            functools.partial(read_kernel.read, words, partial, config), window_s
        )
