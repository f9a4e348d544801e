"""Where Inductor and Triton keep what they compiled and tuned: a folder of ours for each machine.

The folder is named by the machine (its key), Triton and Python; shapes, options and sources are in
Inductor's and Triton's own keys, inside. Both read these variables whenever they look for a folder,
and write by rename or under a lock, so processes may share it.
"""

from __future__ import annotations

import getpass
import os
import re
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

    A variable that a person has set stays as it is, and where our folder cannot be written all
    do: Inductor's and Triton's own defaults apply. Called before anything is compiled.
    """
    unset = [name for name in FOLDERS if not _given(os.environ.get(name, ""))]
    place = folder(identify(device)) if unset else None
    if place is not None and _writable(place):
        os.environ.update({name: str(place / FOLDERS[name]) for name in unset})


def _writable(place: Path) -> bool:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(place, os.W_OK)


def _given(value: str) -> bool:
    """Whether a person chose this folder: importing torch._dynamo writes Inductor's default."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid_{os.getuid()}"
    clean = re.sub(r'[\\/:*?"<>|]', "_", user)
    return value not in {"", os.path.join(tempfile.gettempdir(), f"torchinductor_{clean}")}  # noqa: PTH118  (as torch writes it)


def folder(machine: Machine) -> Path:
    """Return the folder of one machine and its versions; it need not exist."""
    return cache() / "compiled" / key(machine)


def key(machine: Machine) -> str:
    """Return the machine's key (GPU, driver, CUDA, torch; or CPU, cores, torch), Triton, Python."""
    fields = machine.fields
    return f"{machine.key}_triton-{fields['triton']}_python-{fields['python']}"
