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
    phases.mark("build")
    phases.split("build", "load", 3.0)
    assert phases.seconds == {"interpreter": 0.5, "import_torch": 2.5, "load": 3.0, "build": 1.0}
    assert list(phases.seconds) == ["interpreter", "import_torch", "load", "build"]
    assert sum(phases.seconds.values()) == 7.0
