from __future__ import annotations

from perfkit.reporting.looks import PALETTE, looks, looks_of


def test_arms_differ_in_shape_where_colours_come_again() -> None:
    made = looks(f"arm {at:02}" for at in range(36))
    assert len({(look.colour, look.marker) for look in made.values()}) == 36


def test_no_two_of_a_scene_s_arms_look_alike() -> None:
    bases = [f"backend-{at:02}" for at in range(20) for _ in range(2)]
    tails = [(precision,) for _ in range(20) for precision in ("bf16", "fp16")]
    made = looks_of(bases, tails)
    assert len({(look.colour, look.line, look.marker) for look in made.values()}) == 40
    assert made["backend-00 bf16"].colour == PALETTE[0]


def test_arms_beside_each_other_have_other_markers() -> None:
    made = list(looks_of(["a", "b", "c", "d"], [()] * 4).values())
    assert [look.marker for look in made] == ["o", "s", "^", "D"]
