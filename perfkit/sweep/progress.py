"""What a sweep says while it goes on: whole lines anywhere, a last line in place on a terminal."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TextIO

_CLEAR = "\r\x1b[2K"


@dataclass
class Progress:
    """Writes to ``stream``; nothing is written while a cell is timed, only when one is finished."""

    stream: TextIO
    _shown: bool = field(default=False)

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self.stream.write(f"{_CLEAR if self._shown else ''}{text}\n")
        self.stream.flush()
        self._shown = False

    def state(self, text: str) -> None:
        """On a terminal, show this as the last line until the next is said; elsewhere nothing."""
        if not self.stream.isatty():
            return
        width = shutil.get_terminal_size().columns - 1
        self.stream.write(f"{_CLEAR}{text[:width]}")
        self.stream.flush()
        self._shown = True
