from __future__ import annotations

import pytest

from perfkit.attention.decode import _tree


@pytest.mark.parametrize(
    ("splits", "rows", "tree"),
    [
        (1, 4, (0, 1)),  # nothing to add up
        (5, 1, (8, 1)),
        (16, 1, (16, 1)),
        (33, 4, (8, 8)),  # five groups, the counters of eight
        (64, 4, (8, 8)),
        (264, 4, (32, 16)),  # nine groups
    ],
)
def test_parts_are_added_up_in_groups_about_as_large_as_they_are_many(
    splits: int, rows: int, tree: tuple[int, int]
) -> None:
    assert _tree(splits, rows) == tree


def test_no_group_and_no_number_of_groups_is_too_small() -> None:
    for rows in (1, 4):
        for splits in range(2, 600):
            fan, groups = _tree(splits, rows)
            assert fan * groups >= splits
            assert groups <= max(fan, 8)
