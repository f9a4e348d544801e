"""Which program computes which tiles of a persistent grid, and in which order."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

# One tile costs its key blocks plus this many blocks' time for its start and its end.
_TILE_COST = 0.4


@dataclass(frozen=True)
class Tiling:
    """Rows of one tile, keys of one block, and the lengths they divide."""

    rows: int
    keys: int
    q_len: int
    kv_len: int
    causal: bool

    @property
    def tiles(self) -> int:
        """Row tiles of one head."""
        return -(-self.q_len // self.rows)

    def blocks(self, tile: int) -> int:
        """Key blocks that some row of this tile sees; at least one, so that zeros are written."""
        every = -(-self.kv_len // self.keys)
        if not self.causal:
            return every
        last = (tile + 1) * self.rows + self.kv_len - self.q_len
        return max(1, min(every, -(-last // self.keys)))


def assign(tiling: Tiling, heads: int, programs: int, together: int) -> list[list[tuple[int, int]]]:
    """Return for each program its (head, tile) pairs in order.

    ``heads`` counts every sequence's heads; ``together`` of them are in work at a time, so that
    their keys and values are fetched once and found in the cache by their other tiles. Within such
    a group the longest tiles come first; each goes to the program that is free first. A list made
    beforehand needs no counter in memory and is the same every time.
    """
    free = [(0.0, program) for program in range(programs)]
    lists: list[list[tuple[int, int]]] = [[] for _ in range(programs)]
    longest_first = sorted(range(tiling.tiles), key=lambda tile: -tiling.blocks(tile))
    for first in range(0, heads, together):
        group = range(first, min(first + together, heads))
        for tile, head in itertools.product(longest_first, group):
            busy, program = heapq.heappop(free)
            lists[program].append((head, tile))
            heapq.heappush(free, (busy + tiling.blocks(tile) + _TILE_COST, program))
    return lists
