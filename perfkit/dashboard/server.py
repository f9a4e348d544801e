"""``python -m perfkit.dashboard.server``: ``streamlit run`` that reads the files first.

Streamlit runs an app only once a browser asks, and a person would then wait for both.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

APP = Path(__file__).with_name("app.py")


def warm(roots: Sequence[str]) -> int:
    """Read the files and import what draws; return how many cells there are."""
    import altair as alt  # noqa: F401 - imported once here, not while a page waits

    from perfkit.dashboard.index import shared

    return len(shared(tuple(roots)).shelf().cells)


def main(arguments: Sequence[str]) -> None:
    """Serve the app; after ``--`` come folders and files, before it Streamlit's own flags."""
    from streamlit.web import cli

    roots = arguments[arguments.index("--") + 1 :]
    sys.stdout.write(f"{warm(roots):,} cells read\n")
    cli.main(["run", str(APP), *arguments], prog_name="streamlit")


if __name__ == "__main__":
    main(sys.argv[1:])
