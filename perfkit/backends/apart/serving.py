"""The engine's side: answer one call after another until told to stop."""

from __future__ import annotations

import os
import socket
import traceback
from typing import TYPE_CHECKING, Any, Protocol

from perfkit.backends.apart import wire

if TYPE_CHECKING:
    import numpy as np

SOCKET = "PERFKIT_ENGINE_SOCKET"
Answer = tuple[dict[str, Any], "dict[str, np.ndarray]"]


class Calls(Protocol):
    """What answers: one method a call, which takes and returns a header and arrays."""

    def __call__(self, name: str, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Answer:
        """Answer one call."""
        ...


def serve(calls: Calls) -> None:
    """Connect to the socket that the environment names, and answer until ``stop``.

    An exception is an answer too: its type, first line and traceback.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.connect(os.environ[SOCKET])
        wire.send(peer, {"pid": os.getpid()})
        while True:
            try:
                header, arrays = wire.receive(peer)
            except (EOFError, OSError):
                return
            name = header.pop("call")
            if name == "stop":
                wire.send(peer, {})
                return
            try:
                answer, made = calls(name, header, arrays)
            except Exception as error:
                traceback.print_exc()
                wire.send(peer, {"error": {"type": type(error).__name__, "text": str(error)}})
                continue
            wire.send(peer, {"answer": answer}, **made)
