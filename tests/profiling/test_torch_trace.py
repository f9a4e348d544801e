from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from perfkit.errors import UsageError
from perfkit.profiling import json_stream
from perfkit.profiling.torch_trace import read, self_times
from tests.profiling.made import event, fixture, kernel, launch, sound, trace

if TYPE_CHECKING:
    from pathlib import Path

US = 1e-6
# The device runs behind its host: the decode's kernel begins when that range is long over.
PHASED = [
    event("user_annotation", "prefill", 1000, 100),
    event("user_annotation", "decode", 1100, 50),
    event("user_annotation", "decode", 1150, 50),
    launch(1010, 1),
    launch(1120, 2),
    launch(1160, 3, tid=555),
    launch(1300, 4),
    kernel("sm90_xmma_gemm", 1050, 200, 1),
    kernel("flash_fwd", 1250, 30, 2),
    kernel("flash_fwd", 1280, 30, 3),
    kernel("flash_fwd", 1310, 30, 4),
    event("gpu_memcpy", "Memcpy DtoH", 1340, 10, pid=0, tid=7, args={"device": 0, "stream": 7}),
]


def rows(path: Path) -> list[tuple[Any, ...]]:
    profile = read(path)
    sound(profile)
    columns = ["name", "phase", "device", "stream", "calls", "total_s"]
    return list(profile.kernels[columns].itertuples(index=False, name=None))


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_a_launch_has_the_phase_of_its_call_on_its_thread(tmp_path: Path, name: str) -> None:
    """Kernel 3 was launched by a thread in no phase, 4 after all; the copy has no call."""
    found = rows(trace(tmp_path / name, PHASED))
    assert found == [
        ("sm90_xmma_gemm", "prefill", "0", 7, 1, pytest.approx(200 * US)),
        ("flash_fwd", "", "0", 7, 2, pytest.approx(60 * US)),
        ("flash_fwd", "decode", "0", 7, 1, pytest.approx(30 * US)),
        ("Memcpy DtoH", "", "0", 7, 1, pytest.approx(10 * US)),
    ]


def test_ranges_and_events_are_on_one_clock(tmp_path: Path) -> None:
    profile = read(trace(tmp_path / "t.json", PHASED))
    assert profile.ranges is not None
    assert profile.events is not None
    assert profile.ranges["phase"].tolist() == ["prefill", "decode", "decode"]
    # Seconds count from the first kernel.
    assert profile.ranges["start_s"].tolist() == pytest.approx([-50 * US, 50 * US, 100 * US])
    assert profile.ranges["end_s"].tolist() == pytest.approx([50 * US, 100 * US, 150 * US])
    assert profile.events["start_s"].tolist()[:2] == pytest.approx([0, 200 * US])
    decode = profile.events[profile.events["phase"] == "decode"]
    assert decode["start_s"].tolist() == pytest.approx([200 * US])


def test_the_kernels_of_a_graph_have_the_phase_of_its_launch(tmp_path: Path) -> None:
    node = {"graph node id": 4}
    path = trace(
        tmp_path / "t.json",
        [
            event("user_annotation", "decode", 0, 10),
            event("cuda_runtime", "cudaGraphLaunch", 5, 1, args={"correlation": 8}),
            *(kernel("k", 20 + 10 * turn, 10, 8, **node) for turn in range(3)),
        ],
    )
    assert rows(path) == [("k", "decode", "0", 7, 3, pytest.approx(30 * US))]
    assert "3 kernels ran in CUDA graphs" in read(path).notes


def test_a_trace_of_the_device_alone_has_the_devices_ranges(tmp_path: Path) -> None:
    on_device = {"pid": 0, "tid": 7}
    path = trace(
        tmp_path / "t.json",
        [
            event("gpu_user_annotation", "decode", 100, 50, **on_device),
            kernel("k", 110, 10, 1),
            kernel("k", 160, 5, 2),
        ],
    )
    assert rows(path) == [
        ("k", "decode", "0", 7, 1, pytest.approx(10 * US)),
        ("k", "", "0", 7, 1, pytest.approx(5 * US)),
    ]
    assert any("device's own ranges" in note for note in read(path).notes)


def test_ranges_without_calls_give_phases_by_time(tmp_path: Path) -> None:
    path = trace(
        tmp_path / "t.json",
        [event("user_annotation", "prefill", 0, 50), kernel("k", 40, 10, 1), kernel("k", 60, 5, 2)],
    )
    assert [row[1] for row in rows(path)] == ["prefill", ""]


def test_operators_count_by_self_time_where_nothing_ran_on_a_device(tmp_path: Path) -> None:
    """linear 0..100 calls t 10..20 and addmm 20..90, which calls copy_ 30..40."""
    path = trace(
        tmp_path / "t.json",
        [
            event("user_annotation", "decode", -5, 200),
            event("cpu_op", "aten::addmm", 20, 70),
            event("cpu_op", "aten::linear", 0, 100),
            event("cpu_op", "aten::t", 10, 10),
            event("cpu_op", "aten::copy_", 30, 10),
            event("cpu_op", "aten::mm", 50, 8, tid=101),
            event("python_function", "forward", 0, 100),
        ],
    )
    assert rows(path) == [
        ("aten::addmm", "decode", "cpu", 100, 1, pytest.approx(60 * US)),
        ("aten::linear", "decode", "cpu", 100, 1, pytest.approx(20 * US)),
        ("aten::t", "decode", "cpu", 100, 1, pytest.approx(10 * US)),
        ("aten::copy_", "decode", "cpu", 100, 1, pytest.approx(10 * US)),
        ("aten::mm", "", "cpu", 101, 1, pytest.approx(8 * US)),
    ]
    assert "nothing ran on a device" in read(path).notes[0]


@pytest.mark.parametrize("seed", range(10))
def test_self_times_add_up_to_the_time_that_a_thread_was_busy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spans = [(0, 0.0, 64.0)]
    for thread, start, length in spans[:200]:
        if length > 1:  # nested by halves, with a gap at random
            spans += [(thread, start, length / 2), (thread, start + length / 2, length / 4)]
    spans += [(1, float(rng.uniform(0, 5)), 3.0)]
    order = rng.permutation(len(spans))
    threads, starts, lengths = (np.array(column)[order] for column in zip(*spans, strict=True))
    found = self_times(threads, starts, lengths)
    assert (found >= 0).all()
    assert found[threads == 0].sum() == pytest.approx(64.0)
    assert found[threads == 1].sum() == pytest.approx(3.0)


def test_kinetos_first_schema_is_read(tmp_path: Path) -> None:
    """torch 1.8: capitals, streams as "stream 7", user ranges among the operators."""
    args = {"device": 1, "correlation": 3}
    path = trace(
        tmp_path / "t.json",
        [
            event("Operator", "prefill", 0, 100),
            event("Operator", "aten::mm", 1, 50),
            event("Runtime", "cudaLaunchKernel", 5, 1, args={"correlation": 3}),
            event("Kernel", "k", 50, 10, pid=1, tid="stream 20", args=args),
            event("Memset", "Memset (Device)", 70, 1, pid=1, tid="stream 20", args=args),
        ],
    )
    assert rows(path) == [
        ("k", "prefill", "1", 20, 1, pytest.approx(10 * US)),
        ("Memset", "prefill", "1", 20, 1, pytest.approx(1 * US)),
    ]


def test_kinetos_first_operators_are_read_without_a_device(tmp_path: Path) -> None:
    """Threads are texts, and the profiler's own steps stand among the operators."""
    thread = {"pid": 9, "tid": "31383"}
    path = trace(
        tmp_path / "t.json",
        [
            event("Operator", "ProfilerStep#10", 0, 500, **thread),
            event("Operator", "aten::mm", 1, 50, **thread),
        ],
    )
    assert rows(path) == [("aten::mm", "", "cpu", 31383, 1, pytest.approx(50 * US))]


def test_numbers_that_json_does_not_have_are_passed_over(tmp_path: Path) -> None:
    """Kineto of 2021 divided by the time of a copy that took none (pytorch/kineto#105)."""
    path = trace(tmp_path / "t.json", [kernel("Memcpy: inf, nan", 1, 2, 3, bandwidth=0.125)] * 3)
    text = path.read_text()
    for number in ("inf", "-inf", "nan", "-nan"):
        path.write_text(text.replace("0.125", number))
        assert rows(path) == [("Memcpy: inf, nan", "", "0", 7, 3, pytest.approx(6 * US))]


def test_the_schema_before_kineto_is_read(tmp_path: Path) -> None:
    """A bare array, no categories."""
    path = tmp_path / "t.json"
    path.write_text(
        '[{"name": "mm", "ph": "X", "ts": 1, "dur": 9, "tid": 1, "pid": "CPU functions"},'
        ' {"name": "gemm", "ph": "X", "ts": 5, "dur": 3, "tid": 0, "pid": "CUDA functions"},'
        ' {"name": "", "ph": "s", "ts": 5, "tid": 0, "pid": "CPU functions", "id": 1}]'
    )
    assert rows(path) == [("gemm", "", "0", -1, 1, pytest.approx(3 * US))]


def test_times_of_day_lose_no_nanosecond(tmp_path: Path) -> None:
    """Microseconds since 1970 are near the last digit of a double; seconds count from the first."""
    path = trace(
        tmp_path / "t.json", [kernel("k", 1_700_000_000_000_000 + at, 1.5, 1) for at in (0, 7)]
    )
    events = read(path).events
    assert events is not None
    assert events["start_s"].tolist() == pytest.approx([0, 7 * US], abs=1e-9)


def test_names_that_no_file_could_hold_are_mended(tmp_path: Path) -> None:
    path = trace(tmp_path / "t.json", [kernel("k\ud800", 1, 1, 1)])
    (name,) = read(path).kernels["name"]
    name.encode()
    broken = tmp_path / "b.json"
    broken.write_bytes(path.read_bytes().replace(b"\\ud800", b"\xff\xfe"))
    assert read(broken).kernels["name"].tolist()[0].startswith("k")


def test_a_kernel_that_ends_before_it_begins_counts_and_is_told(tmp_path: Path) -> None:
    path = trace(tmp_path / "t.json", [kernel("k", 1, -4, 1), kernel("k", 5, 4, 2)])
    assert rows(path) == [("k", "", "0", 7, 2, pytest.approx(4 * US))]
    assert "1 events end before they begin; they count as 0 s" in read(path).notes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schemaVersion": 1}', "it has no array traceEvents"),
        ('{"traceEvents": {}}', "it has no array traceEvents"),
        ('{"traceEvents": []}', "no kernel and no operator among its 0 events"),
        ('{"traceEvents": [1]}', "event 1 is '1', expected an object"),
        ('{"traceEvents": [], "traceEvents": []}', "it has traceEvents twice"),
        ('{"traceEvents": [{}}', "expected a comma or a closing bracket"),
        ('{"traceEvents": [{"a": nanny}]}', "is no whole JSON"),
        ('[{"ph": "X", "cat": "kernel", "ts": 1, "dur": inf}]', "has dur 'None'"),
        ('{"traceEvents": [{"ph": "X"', "ends in the middle, was it cut off?"),
        ('{"traceEvents": [{}]', "ends in the middle, was it cut off?"),
        (
            '[{"ph": "X", "cat": "kernel", "ts": 1, "dur": "9"}]',
            "has dur '9', expected microseconds",
        ),
        ('[{"ph": "X", "cat": "kernel", "ts": NaN, "dur": 9}]', "has ts 'nan'"),
        ('[{"ph": "X", "cat": "cpu_op", "ts": 1, "dur": 9, "pid": [], "tid": 1}]', "has pid []"),
        ('[{"ph": "X"}] []', "there is more behind its end"),
        ("[" * 100_000, "is no whole JSON"),
        ('[{"ts": ' + "9" * 5000 + "}]", "is no whole JSON"),
    ],
)
def test_what_is_no_trace_is_told_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(UsageError) as told:
        read(path)
    assert words in str(told.value)
    assert "t.json" in str(told.value)
    assert "\n" not in str(told.value)


def test_every_way_to_cut_a_trace_off_is_told(tmp_path: Path) -> None:
    whole = trace(tmp_path / "w.json", PHASED).read_bytes()
    path = tmp_path / "t.json"
    for size in range(1, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(UsageError):
            read(path)
    packed = gzip.compress(whole)
    for size in range(2, len(packed), 5):
        path.write_bytes(packed[:size])
        with pytest.raises(UsageError, match=r"cut off|gzip"):
            read(path)


def test_a_trace_in_many_pieces_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of a few characters end within texts, numbers and brackets."""
    path = trace(tmp_path / "t.json", PHASED, deviceProperties=[{"id": 0}], number=12345)
    expected = rows(path)
    for chunk in (1, 2, 3, 7):
        monkeypatch.setattr(json_stream, "_CHUNK", chunk)
        assert rows(path) == expected


def test_a_value_without_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", 1 << 10)
    monkeypatch.setattr(json_stream, "_LONGEST_VALUE", 1 << 12)
    path = tmp_path / "t.json.gz"
    path.write_bytes(gzip.compress(b'{"traceEvents": [{"name": "' + b"a" * (1 << 20)))
    with pytest.raises(UsageError, match="far too long"):
        read(path)
    monkeypatch.setattr(json_stream, "_LONGEST_FILE", 1 << 13)
    path.write_bytes(gzip.compress(b'{"traceEvents": [' + b" " * (1 << 20)))
    with pytest.raises(UsageError, match="far too long"):
        read(path)


def test_an_llm_on_an_h100() -> None:
    """Totals of a plain json.load of the same file."""
    path = fixture("torch_trace", "tracelens_h100_Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz")
    with gzip.open(path) as stream:
        events = json.load(stream)["traceEvents"]
    ran = [one for one in events if one.get("cat") in {"kernel", "gpu_memcpy", "gpu_memset"}]
    profile = read(path)
    sound(profile)
    assert len(ran) == 1465 + 1 + 241
    assert profile.kernels["calls"].sum() == len(ran)
    assert profile.kernels["total_s"].sum() == pytest.approx(sum(e["dur"] for e in ran) * US)
    kernels = profile.kernels[profile.kernels["class"] != "memcpy/memset"]
    assert kernels["total_s"].sum() == pytest.approx(45432.698 * US)
    flash = profile.kernels[profile.kernels["class"] == "fmha"]
    assert flash["calls"].tolist() == [34]
    gemm = profile.kernels[profile.kernels["class"] == "gemm"]
    assert gemm["calls"].tolist() == [241, 1]
    assert (profile.kernels["device"].unique().tolist(), profile.notes) == (["0"], ())


def test_phases_of_a_real_trace_are_those_of_its_calls(tmp_path: Path) -> None:
    """The H100's step, renamed to a phase; 436 kernels were called before the trace began."""
    path = fixture("torch_trace", "tracelens_h100_Qwen_Qwen1.5-0.5B-Chat__1016005.json.gz")
    with gzip.open(path, "rt") as stream:
        text = stream.read().replace("ProfilerStep#6", "decode")
    events = json.loads(text)["traceEvents"]
    (step,) = [one for one in events if one.get("cat") == "user_annotation"]
    until = step["ts"] + step["dur"]
    calls = {
        one["args"]["correlation"]: step["ts"] <= one["ts"] < until and one["tid"] == step["tid"]
        for one in events
        if one.get("cat") in {"cuda_runtime", "cuda_driver"}
    }
    ran = [one for one in events if one.get("cat") == "kernel"]
    inside = [calls.get(one["args"]["correlation"], step["ts"] <= one["ts"] < until) for one in ran]
    assert sum(one["args"]["correlation"] not in calls for one in ran) == 436
    renamed = tmp_path / "t.json"
    renamed.write_text(text)
    kernels = read(renamed).kernels
    kernels = kernels[(kernels["phase"] == "decode") & (kernels["class"] != "memcpy/memset")]
    assert kernels["calls"].sum() == sum(inside)
    assert 1029 <= sum(inside) <= len(ran)
    spent = sum(one["dur"] for one, mine in zip(ran, inside, strict=True) if mine)
    assert kernels["total_s"].sum() == pytest.approx(spent * US)


def test_inductor_on_amd() -> None:
    profile = read(fixture("torch_trace", "tracelens_torch_compile_triton_trace.json.gz"))
    sound(profile)
    by_class = profile.kernels.groupby("class")["calls"].sum()
    assert by_class.to_dict() == {"gemm": 7, "fmha": 1, "elementwise": 2, "norm": 2}
    assert profile.kernels["total_s"].sum() == pytest.approx(12549.021 * US)
    assert set(profile.kernels["device"]) == {"2"}


def test_a_trace_of_a_cpu_alone() -> None:
    """Four calls of aten::empty: 2.503, 0.473, 0.401 and 0.587 us."""
    profile = read(fixture("torch_trace", "hta_rank-34.Jul_15_10_52_41.1074.pt.trace.json.gz"))
    sound(profile)
    (row,) = profile.kernels.to_dict("records")
    assert (row["name"], row["device"], row["stream"], row["calls"]) == (
        "aten::empty",
        "cpu",
        1074,
        4,
    )
    assert row["total_s"] == pytest.approx(3.964 * US)


_CHILD = """
import sys
from pathlib import Path
from perfkit.profiling.reading import read
kernels = read(Path(sys.argv[1])).kernels
print(kernels["calls"].sum(), round(kernels["total_s"].sum(), 6))
# Not getrusage's: that begins with what the process that started this one had.
status = Path("/proc/self/status").read_text()
print(status.partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.parametrize(
    ("size", "most"),
    [
        pytest.param(100_000_000, 300 << 20, marks=pytest.mark.slow),
        pytest.param(500_000_000, 1 << 30, marks=pytest.mark.thorough),
    ],
)
def test_a_large_trace_is_read_in_bounded_memory(tmp_path: Path, size: int, most: int) -> None:
    pairs = [
        one
        for turn in range(1000)
        for one in (
            launch(turn * 10.0, turn),
            event("cpu_op", "aten::mm", turn * 10.0, 5, args={"Input Dims": [[4096, 4096]] * 2}),
            kernel(
                f"gemm_{turn % 50}", turn * 10.0 + 5, 2.5, turn, grid=[1, 2, 3], block=[4, 5, 6]
            ),
        )
    ]
    block = json.dumps(pairs)[1:-1].encode()
    times = size // len(block) + 1
    path = tmp_path / "t.json"
    with path.open("wb") as stream:
        stream.write(b'{"schemaVersion": 1, "traceEvents": [' + block)
        for _ in range(times - 1):
            stream.write(b",\n" + block)
        stream.write(b"]}")
    assert path.stat().st_size > size
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told, peak = done.stdout.splitlines()
    calls, total = told.split()
    assert int(calls) == times * 1000
    assert float(total) == pytest.approx(times * 1000 * 2.5e-6)
    assert int(peak) * 1024 < most  # KiB


def test_self_times_are_those_of_torch_itself(tmp_path: Path) -> None:
    """A model on this machine's CPU, profiled twice over: prefill, then three steps of decode."""
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    layer, norm = torch.nn.Linear(64, 64), torch.nn.LayerNorm(64)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as recorded:
        for phase, tokens in (("prefill", 32), *[("decode", 1)] * 3):
            with record_function(phase):
                torch.softmax(norm(layer(torch.ones(tokens, 64))), -1)
    path = tmp_path / "t.json"
    recorded.export_chrome_trace(str(path))
    found = read(path)
    sound(found)
    mine = found.kernels.groupby("name")[["calls", "total_s"]].sum()
    theirs = {one.key: one for one in recorded.key_averages() if one.key.startswith("aten::")}
    assert set(theirs) == set(mine.index)
    for name, one in theirs.items():
        assert mine.loc[name, "calls"] == one.count
        # Both are of times in nanoseconds, theirs of whole ones.
        assert mine.loc[name, "total_s"] * 1e6 == pytest.approx(one.self_cpu_time_total, abs=0.1)
    calls = found.kernels[found.kernels["name"] == "aten::addmm"].groupby("phase")["calls"].sum()
    assert calls.to_dict() == {"prefill": 1, "decode": 3}
    assert found.ranges is not None
    assert found.ranges["phase"].tolist() == ["prefill", "decode", "decode", "decode"]
