from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.starting import worker

if TYPE_CHECKING:
    import pytest


def test_phases_leave_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((13.0, 17.0))
    monkeypatch.setattr(worker.time, "monotonic", lambda: next(moments))
    phases = worker.Phases(spawned=10.0, began=10.5)
    phases.mark("import_torch")
    phases.mark("load")
    assert phases.seconds == {"interpreter": 0.5, "import_torch": 2.5, "load": 4.0}
    assert sum(phases.seconds.values()) == 17.0 - 10.0
