"""What a test needs of the machine, against what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.machine.identity import Gpu

_GIB = 2**30


def missing_gpus(
    found: Sequence[Gpu],
    absence: str,
    n: int = 1,
    min_mem_gib: float = 0,
    min_cc: tuple[int, int] | None = None,
) -> str | None:
    """Return None when ``n`` of the found GPUs are large and new enough, else need and have.

    ``absence`` says why none was found. ``min_mem_gib`` is in GiB of device memory.
    """
    fit = [
        gpu
        for gpu in found
        if (gpu.memory_bytes is None or gpu.memory_bytes >= min_mem_gib * _GIB)
        and (min_cc is None or gpu.compute_capability >= min_cc)
    ]
    if len(fit) >= n:
        return None
    need = f"{n} GPU" + ("s" if n > 1 else "")
    if min_mem_gib:
        need += f" of at least {min_mem_gib:g} GiB"
    if min_cc is not None:
        need += f" with compute capability {min_cc[0]}.{min_cc[1]} or higher"
    return f"needs {need}, found {_have(found, absence)}"


def _have(found: Sequence[Gpu], absence: str) -> str:
    if not found:
        return f"0 ({absence})" if absence else "0"
    return "; ".join(
        f"{gpu.name} ({'unknown' if gpu.memory_bytes is None else f'{gpu.memory_bytes / _GIB:.0f}'}"
        f" GiB, capability {gpu.compute_capability[0]}.{gpu.compute_capability[1]})"
        for gpu in found
    )
