"""Backends: what can generate. Each is one module named in perfkit.cases.BACKENDS."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from perfkit.cases import BACKENDS

if TYPE_CHECKING:
    from perfkit.backends.engine import Backend


def backend(name: str) -> Backend:
    """Return the backend of that name. Raises KeyError for an unknown one."""
    return cast("Backend", importlib.import_module(BACKENDS[name]))
