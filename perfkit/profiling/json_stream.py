"""The objects of one array in a JSON file of any size, one at a time, by Python's own decoder."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

_CHUNK = 1 << 20
# A value longer than this is no event, and a file that unpacks to more is no trace.
_LONGEST_VALUE = 1 << 26
_LONGEST_FILE = 1 << 36
_NEAR = 64  # longer than a literal or an escape; numbers are no error
_SPACE = re.compile(r"[ \t\r\n]*")
_BARE = re.compile(r"-?(inf|nan)(?=\s*[,}\]])")
# strict=False: a control character within a text does no harm.
_DECODER = json.JSONDecoder(strict=False)


def items(path: Path, key: str) -> Generator[Any]:
    """Yield the values of the array under ``key`` of the file's object, or of the file's array.

    Gzip is seen by its first bytes. The file is read to its end, so that one that was cut off is
    never taken for a whole one. Raises UsageError that names the file and what is wrong with it.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            plain = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(plain, "utf-8-sig", "replace") as stream:
                yield from _Text(path, stream).items(key)
    except EOFError:
        raise UsageError(f"{path} was cut off: its gzip stream has no end; copy it again") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise UsageError(f"{path} is no whole gzip file ({error}); copy it again") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None


class _Text:
    """A text that is read as far as it is needed."""

    def __init__(self, path: Path, stream: io.TextIOWrapper) -> None:
        self._path = path
        self._stream = stream
        self._text = ""
        self._at = 0
        self._before = 0

    def items(self, key: str) -> Iterator[Any]:
        opening = self._take()
        if opening == "[":
            yield from self._array()
        elif opening == "{":
            yield from self._object(key)
        else:
            raise self._wrong("expected a JSON object or array")
        if self._peek():
            raise self._wrong("there is more behind its end")

    def _object(self, key: str) -> Iterator[Any]:
        found = False
        while self._peek() != "}":
            name = self._value()
            if self._take() != ":":
                raise self._wrong("expected a colon")
            if name == key and self._peek() == "[":
                if found:
                    raise self._wrong(f"it has {key} twice")
                found = True
                self._take()
                yield from self._array()
            else:
                self._value()
            if self._peek() == ",":
                self._take()
            elif self._peek() != "}":
                raise self._wrong("expected a comma or a closing brace")
        self._take()
        if not found:
            raise UsageError(f"{self._path} is JSON, but no trace: it has no array {key}")

    def _array(self) -> Iterator[Any]:
        while self._peek() != "]":
            yield self._value()
            if self._peek() == ",":
                self._take()
            elif self._peek() != "]":
                raise self._wrong("expected a comma or a closing bracket")
        self._take()

    def _peek(self) -> str:
        """Return the next character that is no space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _take(self) -> str:
        found = self._peek()
        self._at += 1
        return found

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._mend(error.pos):
                    continue
                # What is wrong only because it goes on in what is not read yet is at the end.
                cut_off = error.msg.startswith("Unterminated") or error.pos == len(self._text)
                near = error.pos > len(self._text) - _NEAR
                if not (cut_off or near) or not self._more():
                    raise self._wrong("" if cut_off else error.msg) from None
            except (ValueError, RecursionError) as error:
                raise self._wrong(str(error).partition(";")[0]) from None
            else:
                # A number may go on in what is not read yet.
                if end < len(self._text) or not self._more():
                    self._at = end
                    return value

    def _mend(self, place: int) -> bool:
        """Put null where C++ printed a number that JSON does not have, as Kineto once did."""
        bare = _BARE.match(self._text, place)
        if bare is None:
            return False
        self._before += self._at
        self._text = f"{self._text[self._at : place]}null{self._text[bare.end() :]}"
        self._at = 0
        return True

    def _more(self) -> bool:
        """Read on; False at the end. As much as is held already, so that a long value is cheap."""
        held = len(self._text) - self._at
        if held > _LONGEST_VALUE or self._before > _LONGEST_FILE:
            raise UsageError(f"{self._path} is no trace: it has a value, or is, far too long")
        read = self._stream.read(max(_CHUNK, held))
        if not read:
            return False
        self._before += self._at
        self._text, self._at = self._text[self._at :] + read, 0
        return True

    def _wrong(self, words: str) -> UsageError:
        if not words or not self._peek():
            words = "it ends in the middle, was it cut off?"
        return UsageError(
            f"{self._path} is no whole JSON: {words} (at character {self._before + self._at:,})"
        )
