from __future__ import annotations

import pytest

from perfkit.architectures import ARCHITECTURES
from perfkit.decoding.cuts import Cut, attention, tile
from perfkit.decoding.linear import Tile, padded, room


@pytest.mark.parametrize(
    ("n", "k", "batch", "dual", "cut"),
    [
        (12_288, 4096, 1, False, Tile(1, 4096, 4)),
        (4096, 11_008, 1, False, Tile(4, 2048, 8)),
        (11_008, 4096, 1, True, Tile(2, 2048, 4)),
        (13_824, 5120, 1, True, Tile(2, 1024, 4)),  # 5,120 is no multiple of 2,048
        (4096, 11_008, 8, False, Tile(64, 128, 4, 5, splits=4)),
        (4096, 11_008, 32, False, Tile(16, 256, 4, 4)),
    ],
)
def test_the_cut_is_the_one_measured_for_the_shape(
    n: int, k: int, batch: int, dual: bool, cut: Tile
) -> None:
    assert tile(n, k, batch, 2, dual=dual) == cut


def test_fp32_takes_half_the_columns() -> None:
    assert tile(4096, 4096, 8, 4, dual=False).columns == 128


@pytest.mark.parametrize("batch", [1, 2, 16, 17, 32])
def test_tiles_in_flight_fit_shared_memory(batch: int) -> None:
    for arch in ARCHITECTURES.values():
        hidden, wide = arch.hidden, arch.intermediate
        for n, k, dual in (
            (hidden, wide, False),
            (arch.vocab, hidden, False),
            (wide, hidden, True),
        ):
            cut = tile(n, k, batch, 2, dual=dual)
            rows = cut.rows * (2 if dual else 1) + padded(batch)
            in_flight = 2 * cut.columns * rows * cut.stages
            assert batch == 1 or in_flight <= 227 * 1024


def test_a_head_is_split_where_there_are_few() -> None:
    assert attention(32, 328, 256, 132) == Cut(32, 3, 8)  # 11 blocks, 12 programs a head
    assert attention(32, 208, 256, 132) == Cut(32, 3, 4)  # 7 blocks
    assert attention(1024, 2080, 256, 132) == Cut(32, 4, 1)
    assert attention(4, 8000, 128, 132).splits == 16
    assert attention(1, 5, 512, 132) == Cut(16, 4, 1)


def test_programs_that_share_a_tile_have_room_to_meet() -> None:
    assert room(Tile(64, 128, 4, 5, splits=4), 100, 8) == (2 * 2 * 4 * 64 * 16, 2)
    assert room(Tile(64, 128, 4, 5), 100, 8) == (1, 1)
