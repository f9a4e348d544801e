from __future__ import annotations

import gzip
import os
import random
from typing import TYPE_CHECKING

import pytest

from perfkit.errors import UsageError
from perfkit.profiling.reading import read
from tests.profiling.made import (
    NCU_HEAD,
    STATS,
    event,
    fixture,
    kernel,
    launch,
    ncu_row,
    nsys,
    sound,
    trace,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NCU = NCU_HEAD + ncu_row(0, "k<1, 2>", "Duration", "us", "3") * 3


def a_trace(path: Path) -> Path:
    return trace(
        path, [event("user_annotation", "decode", 0, 9), launch(1, 1), kernel("k", 5, 2, 1)]
    )


def text(content: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        path.write_text(content)
        return path

    return write


KINDS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "nsys": ("n.sqlite", nsys),
    "nsys-stats": ("s.csv", text(STATS)),
    "ncu": ("n.csv", text(NCU)),
    "torch": ("t.json", a_trace),
    "torch packed": ("t.json.gz", a_trace),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_known_by_its_content_whatever_the_name(tmp_path: Path, kind: str) -> None:
    name, write = KINDS[kind]
    path = write(tmp_path / name)
    other = path.rename(tmp_path / "report.bin")
    profile = read(other)
    sound(profile)
    assert profile.tool == kind.removesuffix(" packed")
    assert profile.source == str(other)


@pytest.mark.parametrize("kind", KINDS)
def test_broken_bytes_are_an_error_in_one_line_or_a_sound_table(tmp_path: Path, kind: str) -> None:
    name, write = KINDS[kind]
    whole = write(tmp_path / name).read_bytes()
    path = tmp_path / f"broken-{name}"
    rng = random.Random(kind)
    refused = 0
    for _ in range(150):
        broken = bytearray(whole)
        for _ in range(rng.choice((1, 3, 30))):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        cut = rng.choice((len(broken), rng.randrange(len(broken))))
        path.write_bytes(broken[:cut])
        try:
            sound(read(path))
        except UsageError as error:
            refused += 1
            assert str(path) in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
    assert refused > 30


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\0\1\2\3" * 99, "is no profile that is read here"),
        (b"hello,world\n1,2\n", "is no profile that is read here"),
        (gzip.compress(b"hello", mtime=0), "is no profile that is read here"),
        (b'{"benchmarks": []}', "it has no array traceEvents"),
        (b"[1, 2]", "is no profile that is read here"),
        (b"SQLite format 3\0" + b"\0" * 999, "no whole SQLite export"),
        (b"\x1f\x8b" + b"\7" * 99, "gzip"),
    ],
)
def test_what_is_no_profile_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as told:
        read(path)
    assert words in str(told.value)
    assert str(path) in str(told.value)


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no file"):
        read(tmp_path)
    with pytest.raises(UsageError, match="No such file"):
        read(tmp_path / "none.sqlite")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is no file"):
        read(tmp_path / "pipe")


def test_a_log_line_in_brackets_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("[INFO] loading\n" + NCU)
    assert read(path).tool == "ncu"


@pytest.fixture
def nsys_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return what puts a program named nsys first on PATH, and a report for it."""

    def put(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "nsys").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "nsys").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        report = tmp_path / "a report.nsys-rep"
        report.write_bytes(b"NSYS")
        return report

    return put


def test_a_report_is_exported_through_nsys(
    tmp_path: Path, nsys_command: Callable[[str], Path]
) -> None:
    """The program keeps what it was asked, and writes the export where it was told to."""
    made = nsys(tmp_path / "made.sqlite")
    report = nsys_command(
        f'printf "%s\\n" "$@" > "{tmp_path}/asked"\n'
        f'while [ "$1" != --output ]; do shift; done\ncp "{made}" "$2"'
    )
    profile = read(report)
    sound(profile)
    assert (profile.source, len(profile.kernels)) == (str(report), 5)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:3] == ["export", "--type", "sqlite"]
    assert asked[-1] == str(report)
    assert not list(tmp_path.glob("*export*"))


def test_an_export_that_fails_says_what_nsys_said(nsys_command: Callable[[str], Path]) -> None:
    report = nsys_command("echo 'version mismatch' >&2; exit 3")
    with pytest.raises(UsageError, match=r"exit code 3\): version mismatch"):
        read(report)


@pytest.mark.parametrize("name", ["r.nsys-rep", "r.qdrep"])
def test_without_nsys_the_command_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / name).write_bytes(b"NSYS")
    words = f"nsys export --type sqlite --output r.sqlite {name}"
    with pytest.raises(UsageError, match=words):
        read(tmp_path / name)


def test_a_report_of_ncu_is_told_how_to_print(tmp_path: Path) -> None:
    (tmp_path / "r.ncu-rep").write_bytes(b"NVR\0")
    with pytest.raises(UsageError, match=r"--csv --page raw > r\.csv"):
        read(tmp_path / "r.ncu-rep")


@pytest.mark.parametrize(
    ("parts", "tool"),
    [
        (("nsys_sqlite", "flameox_nsys2025.5.2_rtx3060.sqlite"), "nsys"),
        (("nsys_stats", "dsocr_decode_cuda_gpu_kern_sum.csv"), "nsys-stats"),
        (("ncu_csv", "dsocr_k0013_details.csv"), "ncu"),
        (("ncu_csv", "fame_b200_decode_ncu.csv"), "ncu"),
        (("torch_trace", "tracelens_torch_compile_triton_trace.json.gz"), "torch"),
    ],
)
def test_real_files_are_known(parts: tuple[str, ...], tool: str) -> None:
    profile = read(fixture(*parts))
    sound(profile)
    assert profile.tool == tool
