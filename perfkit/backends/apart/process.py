"""An engine's process, from this side: started, called within limits, ended with all it began."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.backends.apart import wire
from perfkit.backends.apart.serving import SOCKET
from perfkit.backends.engine import ApartError
from perfkit.errors import first_line
from perfkit.machine import guard
from perfkit.machine.processes import end_with_parent, kill, tail, words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

_LOOK_EVERY_S = 0.05
_PACKAGE = Path(__file__).resolve().parents[2]
_SIGKILLED = (-9, 137)
_OUT_OF_MEMORY = ("OutOfMemoryError", "MemoryError", "out of memory")
_MARK = "PERFKIT_STARTED_BY"
_LONGEST_FOLDER = 60  # a socket's path has 107 characters at most


@dataclass(frozen=True)
class Limits:
    """The longest waits in seconds: for the process to answer at all, for a call, for its end."""

    start_s: float = 120.0
    build_s: float = 3600.0
    load_s: float = 900.0
    call_s: float = 600.0
    end_s: float = 20.0


class EngineProcess:
    """A process of our own that answers calls; ``close`` leaves nothing of it behind.

    MPI starts ranks in sessions of their own, so all that it starts bears a mark in its
    environment. A guard kills what bears it should perfkit itself be killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        limits: Limits,
        explain: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """Start it and wait for its greeting. Raises ApartError where none comes.

        ``explain`` finds in a log why its process ended; without, its last line is quoted.
        """
        self.limits = limits
        self._explain = explain
        self.mark = f"{_MARK}={uuid.uuid4().hex}"
        self._folder = _folder()
        self.log = self._folder / "log"
        self._last_log = ""
        self._busy = False
        self._peer: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        try:
            self._peer = self._started(command, environment)
        except OSError as error:
            self.close()
            raise ApartError("crash", f"cannot start {command[0]}: {error}") from None
        except BaseException:
            self.close()
            raise

    def _started(self, command: Sequence[str], environment: Mapping[str, str]) -> socket.socket:
        """Start guard and process; return the connection that the process opens."""
        place = self._folder / "socket"
        paths = os.pathsep.join(filter(None, (self._alone(), os.environ.get("PYTHONPATH"))))
        name, _, value = self.mark.partition("=")
        asked = {**os.environ, "PYTHONPATH": paths, **environment, SOCKET: str(place), name: value}
        self._guard = subprocess.Popen(
            [sys.executable, "-S", "-E", guard.__file__, self.mark, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door, self.log.open("ab") as log:
            door.bind(str(place))
            door.listen(1)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=asked,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509  (nothing is locked across the fork)
            )
            return self._greeted(door, self._process)

    def _alone(self) -> str:
        """Return a folder that holds perfkit and nothing else.

        The process may be another interpreter's, and must not find this one's packages beside it.
        """
        place = self._folder / "path"
        place.mkdir()
        (place / "perfkit").symlink_to(_PACKAGE, target_is_directory=True)
        return str(place)

    def _greeted(self, door: socket.socket, process: subprocess.Popen[bytes]) -> socket.socket:
        door.settimeout(_LOOK_EVERY_S)
        deadline = time.monotonic() + self.limits.start_s
        self._busy = True
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                peer, _ = door.accept()
                peer.settimeout(self.limits.start_s)
                wire.receive(peer)
                self._busy = False
                return peer
            if process.poll() is not None:
                raise self._died("starting")
        raise ApartError("timeout", f"no answer within {self.limits.start_s:g} s of starting"
                                    f"{self._said()}")  # fmt: skip

    def call(
        self, name: str, limit_s: float, header: Mapping[str, Any] | None = None,
        **arrays: np.ndarray,
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:  # fmt: skip
        """Call and wait for the answer. Raises ApartError for whatever keeps it from coming.

        After a time limit or a death the process is gone with all that it started.
        """
        if self._peer is None:
            raise ApartError("crash", f"{name}: the engine's process has ended")
        self._busy = True
        try:
            self._peer.settimeout(limit_s)
            wire.send(self._peer, {"call": name, **(header or {})}, **arrays)
            told, made = wire.receive(self._peer)
        except TimeoutError:
            said = self._said()
            self.close()
            raise ApartError("timeout", f"{name}: no answer within {limit_s:g} s{said}") from None
        except (EOFError, OSError):
            error = self._died(name)
            self.close()
            raise error from None
        self._busy = False
        if "error" in told:
            raise _error(name, told["error"])
        return told["answer"], made

    def read_log(self) -> str:
        """Return what the process and its children have printed so far, or had at their end."""
        if self.log.is_file():
            self._last_log = self.log.read_text(encoding="utf-8", errors="replace")
        return self._last_log

    def close(self) -> None:
        """Ask it to end, unless it is busy; kill what does not; remove its folder."""
        peer, self._peer = self._peer, None
        process, self._process = self._process, None
        guarding, self._guard = self._guard, None
        try:
            if peer is not None and process is not None and not self._busy:
                self._ask_to_end(peer, process)
        finally:
            if peer is not None:
                peer.close()
            if process is not None:
                kill(process)
            guard.kill(self.mark)
            self.read_log()
            shutil.rmtree(self._folder, ignore_errors=True)
            if guarding is not None and guarding.stdin is not None:
                guarding.kill()  # there is nothing left to guard
                guarding.wait()
                guarding.stdin.close()

    def _ask_to_end(self, peer: socket.socket, process: subprocess.Popen[bytes]) -> None:
        """Let it end by itself; it may hang as it does (MPI), with every result already here."""
        with contextlib.suppress(OSError, EOFError):
            peer.settimeout(self.limits.end_s)
            wire.send(peer, {"call": "stop"})
            wire.receive(peer)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=self.limits.end_s)

    def _died(self, during: str) -> ApartError:
        code = self._code()
        if code is None:
            return ApartError("crash", f"{during}: the connection was lost{self._said()}")
        if code in _SIGKILLED:
            return ApartError(
                "oom",
                f"{during}: the system killed the engine's process (SIGKILL), as it does when the "
                "host is out of memory",
            )
        said = self._said()
        return ApartError(_verdict(said), f"{during}: the engine's process {words(code)}{said}")

    def _code(self) -> int | None:
        """Return the exit code of a process that is ending, None where it does not."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout=self.limits.end_s)
        except subprocess.TimeoutExpired:
            return None

    def _said(self) -> str:
        why = self._explain(self.read_log())
        if why is not None:
            return f": {why}"
        said = tail(self.log)
        return f"; it last said: {said}" if said else ""


def _folder() -> Path:
    """Return a new folder whose path is short enough for a socket in it."""
    place = tempfile.gettempdir()
    short = place if len(place) <= _LONGEST_FOLDER else "/tmp"  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="perfkit-engine-", dir=short))


def _error(name: str, error: Mapping[str, str]) -> ApartError:
    kind, text = error["type"], error["text"]
    told = f"{name}: {kind}: {first_line(RuntimeError(text))}"
    return ApartError(_verdict(f"{kind} {text}"), told)


def _verdict(said: str) -> str:
    """Return oom where memory was short, by what was said."""
    return "oom" if any(word.lower() in said.lower() for word in _OUT_OF_MEMORY) else "crash"
