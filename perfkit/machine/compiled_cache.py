"""Where Inductor and Triton keep what they compiled and tuned: a folder of ours for each machine.

The folder is named by the machine (its key), Triton and Python; shapes, options and sources are in
Inductor's and Triton's own keys, inside. Both read these variables whenever they look for a folder,
and write by rename or under a lock, so processes may share it.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from perfkit.machine.identity import identify
from perfkit.paths import cache

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.machine.identity import Machine

FOLDERS = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}


def use(device: str) -> None:
    """Have this process, and those it starts, keep compiled code for ``device`` in our folder.

    A variable that a person has set stays as it is. Called before anything is compiled.
    """
    unset = [name for name in FOLDERS if not _given(os.environ.get(name, ""))]
    if unset:
        place = folder(identify(device))
        os.environ.update({name: str(place / FOLDERS[name]) for name in unset})


def _given(value: str) -> bool:
    """Whether a person chose this folder: importing torch._dynamo writes Inductor's default."""
    default = os.path.join(tempfile.gettempdir(), "torchinductor_")  # noqa: PTH118  (as torch does)
    return bool(value) and not value.startswith(default)


def folder(machine: Machine) -> Path:
    """Return the folder of one machine and its versions; it need not exist."""
    return cache() / "compiled" / key(machine)


def key(machine: Machine) -> str:
    """Return the machine's key (GPU, driver, CUDA, torch; or CPU, cores, torch), Triton, Python."""
    fields = machine.fields
    return f"{machine.key}_triton-{fields['triton']}_python-{fields['python']}"
