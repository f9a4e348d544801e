"""Attention: every provider on every problem of a set (``--perfkit-attention``), cold and hot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.measurement.attention import AttentionCell, Outcome


def test_attention(
    attention_cell: AttentionCell, attention_measured: Callable[[AttentionCell], Outcome]
) -> None:
    """The provider computes what fp32 says, with its own kernel; its figures go to the JSON."""
    outcome = attention_measured(attention_cell)
    assert outcome.verdict not in {"crash", "diverged"}, outcome.reason
