"""A generation under a profiler, its prefill and each step of decoding in a range of that name.

It comes after the timed rounds, never inside: a profiler slows what it looks at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    Stamp = Callable[[], None]

Profiler = Literal["torch", "nsys", "ncu"]
# Steps of decoding that a profile has, at most: they are alike.
STEPS = 8


class Ranges:
    """A stamp that closes the range of the token that has come, and opens that of the next."""

    def __init__(self, tokens: int, opens: Callable[[str], AbstractContextManager[Any]]) -> None:
        """Take ``tokens`` stamps; ``opens`` makes a range of a name."""
        self._left, self._opens = tokens, opens
        self._open: AbstractContextManager[Any] | None = None

    def __enter__(self) -> Stamp:
        """Open the prefill's range; return the stamp to give to ``Engine.generate``."""
        self._enter("prefill")
        return self._stamp

    def __exit__(self, *_: object) -> None:
        """Close what is open, also where an engine failed."""
        self._leave()

    def _stamp(self) -> None:
        self._leave()
        self._left -= 1
        if self._left:
            self._enter("decode")

    def _enter(self, name: str) -> None:
        self._open = self._opens(name)
        self._open.__enter__()

    def _leave(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None


def trace(run: Callable[[Stamp], object], tokens: int, device: str, path: Path) -> None:
    """Write torch's trace of ``run``, which generates ``tokens`` tokens, to ``path`` (.json.gz)."""
    import torch
    from torch.profiler import ProfilerActivity, record_function

    path.parent.mkdir(parents=True, exist_ok=True)
    activities = [ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        with Ranges(tokens, record_function) as stamp:
            run(stamp)
        if device == "cuda":
            torch.cuda.synchronize()
    partial = path.with_name(f".partial-{path.name}")
    profiler.export_chrome_trace(str(partial))
    partial.replace(path)


def captured(run: Callable[[Stamp], object], tokens: int) -> None:
    """Run between cudaProfilerStart and Stop, with NVTX ranges: nsys and ncu look there alone."""
    import torch

    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    try:
        with Ranges(tokens, torch.cuda.nvtx.range) as stamp:
            run(stamp)
        torch.cuda.synchronize()
    finally:
        torch.cuda.profiler.stop()
