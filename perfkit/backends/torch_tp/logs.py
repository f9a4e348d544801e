"""Why the ranks ended, by what they and torchrun have printed."""

from __future__ import annotations

import re
import signal

from perfkit.machine.processes import words

_ENDED = re.compile(r"rank +: (\d+) .*\n +exitcode +: (-?\d+)")
# Before a rank has joined the others, its traceback does not name it.
_RAISED = re.compile(
    r"^(?:\[rank(\d+)\]: )?((?!.*ChildFailedError)\w[\w.]*(?:Error|Exception)\b.*)$", re.MULTILINE
)


def failure(log: str) -> str | None:
    """Return which rank failed and how, as in "rank 1 ended with signal SIGKILL", or None.

    torchrun ends the others by SIGTERM once one has failed; of those that raised, the one without
    memory is the cause of the rest.
    """
    raised = [f"rank {rank or '?'}: {text[:200]}" for rank, text in _RAISED.findall(log)]
    short = [text for text in raised if "OutOfMemoryError" in text]
    ended = [(rank, int(code)) for rank, code in _ENDED.findall(log)]
    killed = [
        f"rank {rank} {words(code)}" for rank, code in ended if code < 0 and code != -signal.SIGTERM
    ]
    failed = [f"rank {rank} {words(code)}" for rank, code in ended if code > 0]
    return next(iter((*short, *killed, *raised, *failed)), None)
