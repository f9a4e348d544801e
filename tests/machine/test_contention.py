from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from perfkit.machine import contention

if TYPE_CHECKING:
    from pathlib import Path


def test_the_second_number_is_nanoseconds_of_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "schedstat"
    file.write_text("999812820 1000127380 251\n", encoding="ascii")
    monkeypatch.setattr(contention, "SCHEDSTAT", file)
    assert contention.cpu_wait_s() == pytest.approx(1.00012738)


@pytest.mark.parametrize("content", [None, "", "1 2", "a b c"])
def test_what_the_kernel_does_not_tell_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    file = tmp_path / "schedstat"
    if content is not None:
        file.write_text(content, encoding="ascii")
    monkeypatch.setattr(contention, "SCHEDSTAT", file)
    assert "cannot be read" in str(contention.cpu_wait_s())
