from __future__ import annotations

import io

from perfkit.sweep.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_only_finished_cells_are_said() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.state("cell 1 of 2")
    progress.say("[1/2] done")
    assert stream.getvalue() == "[1/2] done\n"


def test_on_a_terminal_the_state_stands_last_and_is_replaced() -> None:
    stream = Terminal()
    progress = Progress(stream)
    progress.state("cell 1 of 2")
    progress.say("[1/2] done")
    progress.say("[2/2] done")
    assert stream.getvalue() == "\r\x1b[2Kcell 1 of 2\r\x1b[2K[1/2] done\n[2/2] done\n"
