"""One file checked: which kind of document it is, and what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.results import store
from perfkit.verifying.attention import verify_attention
from perfkit.verifying.entries import verify_entries
from perfkit.verifying.findings import Findings
from perfkit.verifying.generation import verify_cells

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.results.store import Document


_BLOCKS = {"perfkit", "perfkit_attention", "benchmarks"}


class NoFiguresError(UsageError):
    """A file that is read well and holds nothing to verify."""


def verify(path: Path) -> tuple[Document, Findings]:
    """Return a result file and what its samples say of it.

    Raises NoFiguresError for a file that no figures can be found in, UsageError for a damaged one.
    """
    content = store.parse(path)
    if not (isinstance(content, dict) and _BLOCKS & content.keys()):
        raise NoFiguresError(f"{path} holds no figures to verify")
    if "perfkit_attention" in content:
        document = store.checked(content, path, "perfkit_attention")
        found = Findings()
        verify_attention(document, found)
    elif "perfkit" not in content and content.get("benchmarks"):
        document, found = content, Findings()
    else:
        document, found = store.checked(content, path), Findings()
        verify_cells(document, found)
    verify_entries(document, found)
    if not found.compared and not found.skipped:
        raise NoFiguresError(f"{path} holds no figures to verify")
    return document, found
