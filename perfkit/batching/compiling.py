"""numba's ``njit`` for the kernels, its disk cache kept apart for each state of their sources.

numba looks at the file of a kernel alone: it would go on using what was compiled with another
file's older functions inlined, and simulate by yesterday's rules without a word.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba

from perfkit.paths import cache

if TYPE_CHECKING:
    from collections.abc import Callable

_SOURCES = ("*_kernel.py", "histogram.py", "compiling.py")


def digest() -> str:
    """Return a digest of all that a kernel can be compiled from."""
    here = Path(__file__).parent
    found = hashlib.sha256()
    for file in sorted({file for pattern in _SOURCES for file in here.glob(pattern)}):
        found.update(file.name.encode() + file.read_bytes())
    return found.hexdigest()[:16]


_CONFIG: Any = numba.config
_FOLDER = str(cache() / "numba" / digest())


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate as ``numba.njit(**options)`` does; what is cached on disk goes to our folder."""

    def decorate(function: Callable[..., Any]) -> Any:
        theirs = _CONFIG.CACHE_DIR
        _CONFIG.CACHE_DIR = _FOLDER
        try:
            return numba.njit(**options)(function)
        finally:
            _CONFIG.CACHE_DIR = theirs

    return decorate
