"""One loaded model at a time: the slot that cells of the same weights share."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perfkit.backends import backend

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from perfkit.backends.engine import Engine, Loaded
    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource


@dataclass
class Slot:
    """Holds the last loaded model and lets go of it before another is loaded."""

    device: str
    find: Callable[[str], ModelSource]
    _key: Hashable = None
    _loaded: Loaded | None = None
    load_s: float = 0.0
    build_s: float = 0.0

    def engine(self, case: Case) -> Engine:
        """Build an engine for ``case``, loading its model unless the slot holds it already."""
        module = backend(case.backend)
        key = module.load_key(case)
        if self._loaded is None or key != self._key:
            self.empty()
            start = time.perf_counter()
            self._loaded = module.load(case, self.find(case.model), self.device)
            synchronise(self.device)
            self._key, self.load_s = key, time.perf_counter() - start
        start = time.perf_counter()
        engine = module.build(self._loaded, case)
        self.build_s = time.perf_counter() - start
        return engine

    def empty(self) -> None:
        """Let go of the model and give its memory back to the device."""
        self._loaded, self._key = None, None
        give_back_memory(self.device)


def synchronise(device: str) -> None:
    """Wait until the device has done all its work."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def give_back_memory(device: str) -> None:
    """Collect garbage and return cached blocks to the driver, or to the system."""
    gc.collect()
    if device == "cpu" and sys.platform == "linux":
        # Without this, glibc keeps freed pages, and a small cell shows a large one's memory.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()
