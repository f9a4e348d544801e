"""The kernels compile for the GPUs they are meant for, without one here."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attention.compiler import HOPPER, builds


@pytest.fixture(scope="module")
def built() -> dict[str, dict[str, Any]]:
    return builds()


@pytest.mark.parametrize("cc", [80, 89, 90])
def test_the_portable_kernel_uses_the_matrix_units(
    cc: int, built: dict[str, dict[str, Any]]
) -> None:
    assert built[f"portable sm_{cc}"]["wgmma" if cc == 90 else "mma"]


@pytest.mark.parametrize("cc", [80, 89, 90])
def test_the_decode_kernel_keeps_loads_in_flight(cc: int, built: dict[str, dict[str, Any]]) -> None:
    # A loop that Triton does not pipeline has no asynchronous copies.
    assert built[f"decode sm_{cc}"]["asynchronous copies"] > 0


@pytest.mark.parametrize("cc", [80, 89, 90])
def test_each_warp_of_the_decode_kernel_has_its_own_keys(
    cc: int, built: dict[str, dict[str, Any]]
) -> None:
    # Else the warps would exchange maxima and probabilities at every block.
    assert built[f"decode sm_{cc}"]["a warp's own softmax"]


@pytest.mark.parametrize("name", HOPPER)
def test_the_hopper_kernel_spills_nothing_and_hides_its_softmax(
    name: str, built: dict[str, dict[str, Any]]
) -> None:
    found = built[f"hopper {name}"]
    assert found["wgmma"]
    assert not found["spills"]
    # One window in the loop and one at the border of tiles, for each warpgroup; all 64 exponentials
    # of a thread's scores lie in each, between the wait for QK and the wait for PV.
    groups = HOPPER[name][1]
    assert len(found["exponentials"]) == 2 * groups
    assert min(found["exponentials"]) >= 64
