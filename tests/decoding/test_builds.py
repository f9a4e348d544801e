"""The kernels compile for a Hopper GPU, without one here."""

from __future__ import annotations

from typing import Any

import pytest

from tests.decoding.compiler import KEPT, builds

_SHARED_BYTES = 227 * 1024  # what a program may have on sm_90


@pytest.fixture(scope="module")
def built() -> dict[str, dict[str, Any]]:
    return builds()


@pytest.mark.parametrize(("name", "kept"), KEPT)
def test_one_row_reads_wide_and_asks_ahead(
    name: str, kept: str, built: dict[str, dict[str, Any]]
) -> None:
    found = built[f"gemv {name} {kept}"]
    assert found["wide loads"] > 0
    assert found["prefetches"] == 1
    assert found["atomics"] == 0


@pytest.mark.parametrize(("name", "kept"), KEPT)
def test_several_rows_are_pipelined_onto_the_matrix_units(
    name: str, kept: str, built: dict[str, dict[str, Any]]
) -> None:
    found = built[f"gemm {name} {kept}"]
    assert found["asynchronous copies"] > 0
    assert found["tensor products"] > 0
    assert found["shared"] <= _SHARED_BYTES
    # The one atomic counts arrivals; sums are added up in order.
    assert found["atomics"] == (1 if name == "down" else 0)


def test_attention_is_pipelined_and_counts_arrivals_alone(
    built: dict[str, dict[str, Any]],
) -> None:
    found = built["attention_step"]
    assert found["asynchronous copies"] > 0
    assert found["atomics"] == 1


def test_what_stands_between_products_reads_wide(built: dict[str, dict[str, Any]]) -> None:
    for name in ("argmax_feed", "rms_norm_rows", "rope_store", "silu_mul", "widen"):
        assert built[name]["wide loads"] > 0
