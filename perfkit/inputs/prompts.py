"""Prompts: real text cut to token ids of exactly P, different in each row of each round."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SEPARATOR = "%%"
BOS = 1
_FIRST_BYTE = 3  # ids 0, 1 and 2 stand for padding, beginning and end, as in SentencePiece
_GOLDEN = 0.618_033_988_749_895


def read(path: Path) -> tuple[str, ...]:
    """Read prompts separated by lines of ``%%``. Raises UsageError when there are none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot read the prompts file {path}: {reason}") from None
    blocks = f"\n{text}\n".split(f"\n{SEPARATOR}\n")
    prompts = tuple(block.strip() for block in blocks if block.strip())
    if not prompts:
        raise UsageError(
            f"the prompts file {path} is empty: expected prompts separated by lines of {SEPARATOR}"
        )
    return prompts


def byte_ids(text: str) -> list[int]:
    """Tokenise bytewise: the ids of UTF-8 bytes, shifted past the three special ids."""
    return [byte + _FIRST_BYTE for byte in text.encode("utf-8")]


@dataclass(frozen=True)
class PromptSet:
    """All prompts as one ring of token ids, from which rows are cut at distinct places."""

    ring: tuple[int, ...]
    tokenizer: str

    @classmethod
    def make(
        cls, prompts: tuple[str, ...], encode: Callable[[str], list[int]] | None, seed: int
    ) -> PromptSet:
        """Shuffle the prompts by ``seed`` and tokenise them (bytewise when ``encode`` is None)."""
        shuffled = random.Random(seed).sample(prompts, len(prompts))  # noqa: S311
        text = "\n\n".join(shuffled)
        ids = encode(text) if encode is not None else byte_ids(text)
        return cls(tuple(ids), "model" if encode is not None else "bytes")

    def rows(self, indices: Sequence[int], length: int) -> NDArray[np.int64]:
        """Return (len(indices), length) ids: a beginning mark, then text from each row's place.

        Places in the ring follow a golden-ratio stride, so the first len(ring) rows all begin
        differently.
        """
        import numpy as np

        size = len(self.ring)
        stride = _coprime(int(size * _GOLDEN), size)
        starts = np.asarray(indices, dtype=np.int64) * stride % size
        ids = np.full((len(indices), length), BOS, dtype=np.int64)
        places = starts[:, None] + np.arange(length - 1)
        ids[:, 1:] = np.take(self._array, places, mode="wrap")
        return ids

    def batch(self, round_: int, batch: int, length: int) -> NDArray[np.int64]:
        """Return the (batch, length) ids of one round; no row of any other round is the same."""
        first = 2 + round_ * batch
        return self.rows(range(first, first + batch), length)

    def agreement_batch(self, batch: int, length: int) -> NDArray[np.int64]:
        """Return two fixed prompts by turns, so that every row can be checked against two."""
        return self.rows([k % 2 for k in range(batch)], length)

    @cached_property
    def _array(self) -> NDArray[np.int64]:
        import numpy as np

        return np.array(self.ring, dtype=np.int64)


def _coprime(start: int, size: int) -> int:
    candidate = max(1, start)
    while math.gcd(candidate, size) != 1:
        candidate += 1
    return candidate
