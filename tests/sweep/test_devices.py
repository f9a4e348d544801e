from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.sweep.devices import Devices

if TYPE_CHECKING:
    from pathlib import Path

MIB = 2**20


def devices(where: Path, said: list[str], readings: list[int | str], holders: list[str]) -> Devices:
    """GPUs whose memory in use is read from a list, its last entry over and over."""
    return Devices(
        ["GPU-a", "GPU-b"], said.append, locks=where, patience_s=0.3,
        used=lambda _: readings.pop(0) if len(readings) > 1 else readings[0],
        holders=lambda _: holders,
    )  # fmt: skip


def test_a_group_sees_the_gpus_that_were_leased_for_it(tmp_path: Path) -> None:
    with devices(tmp_path, [], [0], []).held(2, "group 1") as environment:
        assert environment == {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b"}
    with Devices([], print).held(1, "group 1") as environment:
        assert environment == {}


def test_memory_that_comes_back_is_said_to_be_as_at_first(tmp_path: Path) -> None:
    said: list[str] = []
    # Before, right after, and when the driver has given it back but for a little.
    made = devices(tmp_path, said, [500 * MIB, 90_000 * MIB, 510 * MIB], [])
    with made.held(1, "group 1"):
        pass
    assert said == [
        "GPU-a: 0.49 GiB in use before group 1, the first reading",
        "GPU-a: 0.50 GiB in use after group 1, as at first",
    ]


def test_memory_that_stays_in_use_is_said_with_its_holder(tmp_path: Path) -> None:
    said: list[str] = []
    made = devices(tmp_path, said, [0, 2048 * MIB], ["process 7 (python3) 2.0 GiB"])
    with made.held(1, "group 1"):
        pass
    assert said[1] == (
        "GPU-a: 2.00 GiB in use after group 1, 0.00 GiB at first, "
        "held by process 7 (python3) 2.0 GiB"
    )


def test_memory_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    said: list[str] = []
    with devices(tmp_path, said, ["no driver"], []).held(1, "group 1"):
        pass
    assert said[0] == "GPU-a: memory in use before group 1 is not known: no driver"
