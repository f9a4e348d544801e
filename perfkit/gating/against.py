"""Another commit, checked out beside this one so that its runs take turns with this one's."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def checkout(revision: str, inside: Path) -> Iterator[Path]:
    """Check a revision of the repository that ``inside`` is in out into a temporary folder.

    It is gone again at the end. Raises UsageError where there is no git checkout or no such
    revision.
    """
    root = Path(_git("-C", str(inside), "rev-parse", "--show-toplevel"))
    commit = _git(
        "-C", str(root), "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}"
    )
    with tempfile.TemporaryDirectory(prefix="perfkit-against-") as folder:
        place = Path(folder) / "checkout"
        _git("-C", str(root), "worktree", "add", "--detach", str(place), commit)
        try:
            yield place
        finally:
            _git("-C", str(root), "worktree", "remove", "--force", str(place))


def environment(place: Path) -> Mapping[str, str]:
    """Return the environment in which Python finds perfkit in a checkout first."""
    paths = [str(place), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UsageError("--against needs git, which is not installed") from None
    if done.returncode:
        told = (done.stderr.strip().splitlines() or [""])[-1]
        raise UsageError(f"--against: git {arguments[2]} failed: {told}")
    return done.stdout.strip()
