from __future__ import annotations

import pytest

pytest.importorskip("streamlit")

from perfkit.dashboard import view
from perfkit.dashboard.index import Source


def test_what_all_names_share_is_left_out() -> None:
    names = ["eager/7b/fmha/b1", "eager/7b/nofmha/b1", "eager/7b/fmha/b8"]
    assert view.distinct(names, "/") == ["fmha/b1", "nofmha/b1", "fmha/b8"]
    assert view.distinct(["a/b", "a/b/c"], "/") == ["a/b", "a/b/c"]
    assert view.distinct(["a/b"], "/") == ["a/b"]
    assert view.distinct([], "/") == []


def test_a_long_name_keeps_its_ends() -> None:
    made = view.short("<" + "x" * 10_000 + ">")
    assert len(made) < 170
    assert (made[0], made[-1]) == ("<", ">")
    assert view.short("short") == "short"


def test_machines_of_one_name_are_told_apart() -> None:
    names = {"k1": "GPU", "k2": "GPU", "k3": "CPU"}
    assert view.machine_words("k1", names) == "GPU (k1)"
    assert view.machine_words("k3", names) == "CPU"


def test_what_nobody_measured_is_counted_and_left_out() -> None:
    real = Source("a", "generation", document={"perfkit": {"synthetic": None}})
    made = Source("b", "generation", document={"perfkit": {"synthetic": ""}})
    assert view.real([real, made]) == ([real], 1)
