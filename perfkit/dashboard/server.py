"""``python -m perfkit.dashboard.server``: ``streamlit run`` that reads the files while it starts.

Streamlit runs an app only once a browser asks; by then the browser has loaded for a second or two,
in which the files can be read already.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

APP = Path(__file__).with_name("app.py")


def warm(roots: Sequence[str]) -> None:
    """Read the files and import what draws; what fails here fails again where it is shown."""
    from perfkit.dashboard.index import shared

    _ = shared(tuple(roots)).shelf().cells

    import altair as alt  # noqa: F401


def main(arguments: Sequence[str]) -> None:
    """Serve the app; after ``--`` come folders and files, before it Streamlit's own flags."""
    from streamlit.web import cli

    roots = arguments[arguments.index("--") + 1 :]
    threading.Thread(target=warm, args=(roots,), daemon=True).start()
    cli.main(["run", str(APP), *arguments], prog_name="streamlit")


if __name__ == "__main__":
    main(sys.argv[1:])
