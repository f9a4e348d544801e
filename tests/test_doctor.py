from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit import doctor
from perfkit.attention import registry

if TYPE_CHECKING:
    import pytest


def test_doctor_gives_each_attention_provider_a_line_and_each_absent_one_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    rows = {part: (state, why) for part, state, why in doctor._attention(())}
    assert list(rows) == [f"attention {name}" for name in registry.NAMES]
    assert rows["attention math"] == ("runs", "")
    assert rows["attention torch-flash"] == ("runs", "")
    state, why = rows["attention triton-hopper"]
    assert "skips" in state
    assert "needs a Hopper GPU" in why
    assert all(why for state, why in rows.values() if "skips" in state)
