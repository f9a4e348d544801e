from __future__ import annotations

import pytest

from perfkit.attention.schedule import Tiling, assign


def test_a_tile_streams_the_blocks_that_its_last_row_sees() -> None:
    causal = Tiling(rows=128, keys=128, q_len=512, kv_len=512, causal=True)
    assert [causal.blocks(tile) for tile in range(causal.tiles)] == [1, 2, 3, 4]
    full = Tiling(rows=192, keys=128, q_len=512, kv_len=500, causal=False)
    assert [full.blocks(tile) for tile in range(full.tiles)] == [4, 4, 4]
    longer = Tiling(rows=128, keys=64, q_len=130, kv_len=300, causal=True)
    assert [longer.blocks(tile) for tile in range(longer.tiles)] == [5, 5]
    blind = Tiling(rows=128, keys=128, q_len=512, kv_len=100, causal=True)
    assert [blind.blocks(tile) for tile in range(blind.tiles)] == [1, 1, 1, 1]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("together", [1, 3, 100])
def test_every_tile_is_computed_once(causal: bool, together: int) -> None:
    tiling = Tiling(128, 128, 700, 700, causal)
    lists = assign(tiling, heads=10, programs=7, together=together)
    done = sorted(pair for tiles in lists for pair in tiles)
    assert done == [(head, tile) for head in range(10) for tile in range(tiling.tiles)]


def test_programs_end_at_about_the_same_time() -> None:
    tiling = Tiling(128, 128, 4096, 4096, causal=True)
    lists = assign(tiling, heads=64, programs=132, together=8)
    loads = [sum(tiling.blocks(tile) for _, tile in tiles) for tiles in lists]
    assert max(loads) < 1.03 * sum(loads) / len(loads)


def test_the_longest_tiles_of_a_group_come_first() -> None:
    tiling = Tiling(128, 128, 512, 512, causal=True)
    lists = assign(tiling, heads=4, programs=1, together=2)
    tiles = [tile for _, tile in lists[0]]
    assert tiles == [3, 3, 2, 2, 1, 1, 0, 0] * 2
