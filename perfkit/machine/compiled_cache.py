"""Where Inductor and Triton keep what they compiled and tuned: a folder of ours for each machine.

The folder is named by the machine (its key), Triton and Python; shapes, options and sources are in
Inductor's and Triton's own keys, inside. Both read these variables when they look for a folder, not
when they are imported, and write by rename or under a lock, so processes may share it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from perfkit.machine.identity import identify
from perfkit.paths import cache

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.machine.identity import Machine

FOLDERS = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}


def use(device: str) -> None:
    """Have this process, and those it starts, keep compiled code for ``device`` in our folder.

    A variable that is set already stays as it is. Called before anything is compiled.
    """
    if all(os.environ.get(name) for name in FOLDERS):
        return
    place = folder(identify(device))
    for name, part in FOLDERS.items():
        if not os.environ.get(name):
            os.environ[name] = str(place / part)


def folder(machine: Machine) -> Path:
    """Return the folder of one machine and its versions; it need not exist."""
    return cache() / "compiled" / key(machine)


def key(machine: Machine) -> str:
    """Return the machine's key (GPU, driver, CUDA, torch; or CPU, cores, torch), Triton, Python."""
    fields = machine.fields
    return f"{machine.key}_triton-{fields['triton']}_python-{fields['python']}"
