from __future__ import annotations

import contextlib
import gzip
import json
from typing import TYPE_CHECKING

import pytest
import torch

from perfkit.measurement.tracing import Ranges, trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def noted(said: list[str], name: str) -> Iterator[None]:
    said.append(f"+{name}")
    yield
    said.append(f"-{name}")


def test_a_token_closes_its_range_and_opens_the_next() -> None:
    said: list[str] = []
    with Ranges(3, lambda name: noted(said, name)) as stamp:
        for token in range(3):
            said.append(str(token))
            stamp()
        said.append("after")
    assert said == ["+prefill", "0", "-prefill", "+decode", "1", "-decode",
                    "+decode", "2", "-decode", "after"]  # fmt: skip


def test_an_engine_that_fails_leaves_no_range_open() -> None:
    said: list[str] = []
    with pytest.raises(RuntimeError), Ranges(3, lambda name: noted(said, name)):
        raise RuntimeError
    assert said == ["+prefill", "-prefill"]


def test_a_trace_holds_the_ranges_and_what_ran_in_them(tmp_path: Path) -> None:
    def run(stamp: Callable[[], None]) -> None:
        torch.ones(4, 4) @ torch.ones(4, 4)
        stamp()
        torch.ones(4).argmax()
        stamp()

    path = tmp_path / "traces" / "cell.trace.json.gz"
    trace(run, 2, "cpu", path)
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert names.count("prefill") == names.count("decode") == 1
    assert {"aten::mm", "aten::argmax"} <= {event.get("name") for event in events}
