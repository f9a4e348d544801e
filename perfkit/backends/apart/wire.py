"""Messages between perfkit and an engine's process: a JSON header, then arrays as they lie."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_LENGTH = struct.Struct(">I")
_MOST_HEADER_BYTES = 1 << 24


def send(peer: socket.socket, header: Mapping[str, Any], **arrays: np.ndarray) -> None:
    """Send a header of plain values and some arrays. Raises OSError where the peer is gone."""
    shapes = {name: [array.dtype.str, array.shape] for name, array in arrays.items()}
    text = json.dumps({"header": header, "arrays": shapes}).encode()
    peer.sendall(_LENGTH.pack(len(text)) + text)
    for array in arrays.values():
        peer.sendall(np.ascontiguousarray(array).tobytes())


def receive(peer: socket.socket) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Wait for a message. Raises EOFError where the peer has closed, OSError where it is lost."""
    (length,) = _LENGTH.unpack(_exactly(peer, _LENGTH.size))
    if length > _MOST_HEADER_BYTES:
        raise OSError(f"a header of {length} bytes: no peer of perfkit's")
    told = json.loads(_exactly(peer, length))
    arrays = {}
    for name, (kind, shape) in told["arrays"].items():
        dtype = np.dtype(kind)
        data = _exactly(peer, dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
    return told["header"], arrays


def _exactly(peer: socket.socket, size: int) -> bytearray:
    data = bytearray(size)
    view, have = memoryview(data), 0
    while have < size:
        got = peer.recv_into(view[have:])
        if not got:
            raise EOFError("the peer has closed the connection")
        have += got
    return data
