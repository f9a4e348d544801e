from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from perfkit import cases
from perfkit.backends.engine import ApartError
from perfkit.cases import Case
from perfkit.errors import UsageError
from perfkit.machine.clocks import Round
from perfkit.machine.telemetry import SHORTEST_WINDOW_S, summarise
from perfkit.measurement import figures
from perfkit.measurement.cell import measure
from perfkit.measurement.lab import Profiling
from perfkit.measurement.reference import References
from perfkit.metrics import Trace
from tests.measurement import fake_backend
from tests.measurement.fake_backend import fake_lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from perfkit.measurement.clock import DeviceClock
    from perfkit.measurement.lab import Lab


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("torch-eager", "torch-compile"):
        monkeypatch.setitem(cases.BACKENDS, name, "tests.measurement.fake_backend")
    yield
    fake_backend.PLANS.clear()


def case(precision: str = "bf16", new_tokens: int = 4) -> Case:
    return Case(
        backend="torch-compile", model="llama-tiny", precision=precision, batch=2,
        prompt_len=5, new_tokens=new_tokens,
    )  # fmt: skip


def rounds_for(clock: DeviceClock) -> Callable[[], Callable[..., None]]:
    """pytest-benchmark's loop in small: setup, timer, target, timer."""

    def pedantic(target: Any, *, setup: Any, rounds: int) -> None:
        for _ in range(rounds):
            positional, named = setup()
            clock()
            target(*positional, **named)
            clock()

    return lambda: pedantic


def run(asked: Case, where: Lab) -> Any:
    return measure(asked, where, rounds_for(where.clock))


def test_a_measured_cell_has_all_its_rounds_and_figures() -> None:
    where = fake_lab()
    result = run(case(), where)
    assert result.verdict in {"ok", "unstable", "clock_mismatch"}
    assert result.details["agreement"]["status"] == "agrees"
    samples = result.details["samples"]
    assert [len(itl) for itl in samples["itl_s"]] == [3, 3, 3]
    assert len(samples["e2e_s"]) == len(samples["host_e2e_s"]) == 3
    row = result.details["metrics"]
    assert row["ttft_s"] < row["e2e_s"]
    assert row["peak_allocated_bytes"] is None
    assert "peak_rss_bytes" in result.details["absent"] or row["peak_rss_bytes"]


def test_a_profile_is_taken_after_the_rounds_and_the_cell_names_its_trace(tmp_path: Path) -> None:
    where = replace(fake_lab(), profiling=Profiling("torch", tmp_path))
    result = run(case(), where)
    name = "torch-compile_llama-tiny_bf16_fmha_b2_p5_n4_tp1.trace.json.gz"
    assert result.details["profile"] == {"tool": "torch", "file": name}
    assert (tmp_path / name).stat().st_size
    assert "profile" not in run(case(), fake_lab()).details


def test_a_profile_that_fails_costs_the_cell_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("perfkit.measurement.tracing.trace", fail)
    result = run(case(), replace(fake_lab(), profiling=Profiling("torch", tmp_path)))
    assert result.verdict in {"ok", "unstable", "clock_mismatch"}
    told = {"tool": "torch", "absent": "not profiled: no space left"}
    assert result.details["profile"] == told


def test_out_of_memory_is_a_verdict_and_the_next_cell_runs() -> None:
    where = fake_lab()

    def fail(call: int) -> None:
        if call == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0")

    fake_backend.PLANS[case().id] = fail
    result = run(case(), where)
    assert result.verdict == "oom"
    assert str(result.reason).startswith("asked 20.00 GiB, free ")
    assert "forecast of the whole" in str(result.reason)
    assert result.details["oom"]["forecast_bytes"] > 0
    assert run(case(new_tokens=3), where).details["metrics"]["e2e_s"] > 0


def test_the_hosts_allocator_is_out_of_memory_too() -> None:
    def fail(_: int) -> None:
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
        )

    fake_backend.PLANS[case().id] = fail
    result = run(case(), fake_lab())
    assert result.verdict == "oom"
    assert "asked 8 bytes" in str(result.reason)


def test_a_real_allocation_that_cannot_be_is_out_of_memory() -> None:
    fake_backend.PLANS[case().id] = lambda _: torch.empty(2**50, dtype=torch.int8) and None
    result = run(case(), fake_lab())
    assert result.verdict == "oom", result.reason
    assert f"asked {2**50} bytes" in str(result.reason)


def test_a_crash_is_a_verdict_with_its_words() -> None:
    def fail(_: int) -> None:
        raise ValueError("a kernel is missing\nmore")

    fake_backend.PLANS[case().id] = fail
    result = run(case(), fake_lab())
    assert (result.verdict, result.reason) == ("crash", "ValueError: a kernel is missing")


def test_what_only_the_weights_could_tell_is_unsupported() -> None:
    def fail(_: int) -> None:
        raise UsageError("q_proj has a bias: weight-only layers have none")

    fake_backend.PLANS[case().id] = fail
    result = run(case(), fake_lab())
    assert (result.verdict, result.reason) == (
        "unsupported", "q_proj has a bias: weight-only layers have none"
    )  # fmt: skip


def test_a_cell_over_its_time_is_a_timeout() -> None:
    result = run(case(), fake_lab(cell_timeout_s=-1.0))
    assert result.verdict == "timeout"


def test_an_interrupt_is_not_swallowed() -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    fake_backend.PLANS[case().id] = stop
    with pytest.raises(KeyboardInterrupt):
        run(case(), fake_lab())


def test_unsupported_says_why_and_loads_nothing() -> None:
    result = run(case("fp16"), fake_lab())
    assert (result.verdict, result.reason) == ("unsupported", "the fake has no fp16")


def test_a_third_partys_warning_is_recorded_and_never_fails_the_cell() -> None:
    def warn(_: int) -> None:
        warnings.warn("old interface", DeprecationWarning, stacklevel=1)

    fake_backend.PLANS[case().id] = warn
    result = run(case(), fake_lab())
    assert result.details["warnings"] == ["DeprecationWarning: old interface"]
    assert "metrics" in result.details


def test_without_a_reference_the_cell_is_measured_but_unchecked() -> None:
    def fail(_: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90.00 GiB.")

    reference = cases.reference_of(case()).but(batch=2)
    fake_backend.PLANS[reference.id] = fail
    result = run(case(), fake_lab())
    assert result.details["agreement"]["status"] == "unchecked"
    assert "no fp32 reference" in result.details["agreement"]["reason"]
    assert result.details["metrics"]["e2e_s"] > 0


def test_a_short_cell_is_watched_long_enough_to_have_a_sample() -> None:
    class Watch:
        asked: tuple[float, float] = (0.0, 0.0)

        def window(self, t0: float, t1: float, gpus: int) -> Any:
            self.asked = (t0, t1)
            return summarise([], t0, t1, None, {}, gpus)

        def baseline_bytes(self, gpus: int) -> None:
            del gpus

    where, watch = fake_lab(), Watch()
    where.sampler = watch  # type: ignore[assignment]
    run(case(), where)
    assert watch.asked[1] - watch.asked[0] >= SHORTEST_WINDOW_S


class ToldApart:
    """An engine elsewhere: a round takes 2 s there, whatever the host's clock says here."""

    def __init__(self) -> None:
        self.clock: Any = self
        self.released = 0

    def submit(self) -> None: ...

    def stamp(self) -> None: ...

    def finish(self) -> Round:
        return Round(2.0, Trace((0.5, 1.0, 1.5, 2.0)), host_s=2.01)

    def attention(self) -> dict[str, Any]:
        return {"requested": "fmha", "prefill": {"class": "told"}, "decode": {"class": "told"}}

    def memory(self) -> dict[str, object]:
        return {"device_before_bytes": 100, "weights_bytes": 7, "kv_bytes": "the log is mute"}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> ToldApart:
    told = ToldApart()
    monkeypatch.setattr(fake_backend.FakeEngine, "apart", told)
    monkeypatch.setattr(
        fake_backend.FakeEngine, "release", lambda _: setattr(told, "released", told.released + 1)
    )
    return told


def test_an_engine_in_a_process_of_its_own_tells_what_nobody_else_sees(
    elsewhere: ToldApart,
) -> None:
    del elsewhere
    told = run(case(), fake_lab()).details
    assert told["metrics"]["ttft_s"] == 0.5
    assert told["metrics"]["e2e_s"] == 2.0
    assert told["samples"]["host_e2e_s"] == [2.01] * 3
    assert told["attention"]["prefill"]["class"] == "told"
    assert told["memory"]["weights_bytes"] == 7
    assert told["memory"]["kv_bytes"] is None
    assert told["memory"]["absent"] == {"kv_bytes": "the log is mute"}
    assert "the engine's process counts none" in told["absent"]["peak_allocated_bytes"]


def test_the_devices_peak_is_less_what_they_held_before_that_process() -> None:
    # NVML's peak was 530: 500 over the session's first reading, 430 over the process's.
    assert figures._less_earlier(500, 30, 100) == 430
    assert figures._less_earlier(500, 30, None) == 500
    assert figures._less_earlier(None, 30, 100) is None


def test_no_engine_outlives_an_interrupted_cell(elsewhere: ToldApart) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    fake_backend.PLANS[case().id] = stop
    before = elsewhere.released
    with pytest.raises(KeyboardInterrupt):
        run(case(), fake_lab())
    # The reference's engines release themselves; the last is the cell's own.
    assert elsewhere.released > before


def test_outputs_that_cannot_be_compared_make_no_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fake_backend, "uncheckable", lambda *_: "dummy weights")
    where = fake_lab()
    result = run(case(), where)
    assert result.details["agreement"]["status"] == "unchecked"
    assert result.details["agreement"]["reason"] == "dummy weights"
    assert where.references._references == {}


def test_logits_that_fail_elsewhere_leave_the_cell_measured_but_unchecked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise ApartError("oom", "the twin does not fit")

    monkeypatch.setattr(References, "check", fails)
    result = run(case(), fake_lab())
    assert result.verdict in {"ok", "unstable", "clock_mismatch"}
    assert result.details["agreement"]["reason"] == "the twin does not fit"
