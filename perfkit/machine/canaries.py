"""Fixed work, timed at both ends of a session: whether the machine was itself, and stayed so.

What a cell costs changes with the code; what these cost changes with the machine alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.machine.windows import device_times, host_times, product

if TYPE_CHECKING:
    from collections.abc import Callable

_WINDOWS = 12
_GPU_WINDOWS = 6
_CPU_PRODUCT, _GPU_PRODUCT = 768, 8192
_CPU_COPY_BYTES, _GPU_COPY_BYTES = 2**26, 2**30
_GPU_WINDOW_S, _GPU_PAUSE_S = 0.02, 0.1
_REPEATS = 200


def measure(device: str) -> dict[str, list[float]]:
    """Return the seconds of each window, by canary, on ``device`` ("cpu" or "cuda").

    ``gemm`` is one product (768, fp32; on a GPU 8192, bf16), ``copy`` one copy of 64 MiB (on a GPU
    1 GiB), ``host`` a chain of small operations on the CPU, whose calls cost more than their work:
    on them eager decoding hangs. Takes about 0.3 s (GPU: 2 s).
    """
    if device == "cuda":
        return {
            "gemm": _on_device(product(device, _GPU_PRODUCT, "bf16")),
            "copy": _on_device(_copy(device, _GPU_COPY_BYTES)),
            "host": _on_host(_dispatches()),
        }
    return {
        "gemm": _on_host(product(device, _CPU_PRODUCT, "fp32")),
        "copy": _on_host(_copy(device, _CPU_COPY_BYTES)),
        "host": _on_host(_dispatches()),
    }


def _on_device(call: Callable[[], object]) -> list[float]:
    return device_times(call, _GPU_WINDOW_S, _GPU_WINDOWS, _GPU_PAUSE_S)


def _on_host(call: Callable[[], object]) -> list[float]:
    call()
    return host_times(call, 0.0, _WINDOWS)


def _copy(device: str, size: int) -> Callable[[], object]:
    import torch

    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _dispatches() -> Callable[[], object]:
    """Return a call of operations such as a decoder layer's, on vectors too small to matter."""
    import torch

    x, weight = torch.ones(1, 64), torch.ones(64, 64) / 64
    heads = torch.ones(1, 4, 1, 16)

    def chain() -> None:
        for _ in range(_REPEATS):
            y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True))
            y = torch.nn.functional.linear(y, weight).view(1, 4, 1, 16).transpose(1, 2)
            y = torch.cat((y.transpose(1, 2), heads), dim=2)
            y = torch.softmax(y @ y.transpose(2, 3), dim=-1) @ y
            torch.nn.functional.silu(y) * y

    return chain
