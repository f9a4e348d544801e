"""Pictures: whole files, telling titles, and no bar for what must not be used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.errors import UsageError
from perfkit.profiling.summary import summary
from perfkit.reporting.plots import draw_all, figures, title_of
from perfkit.reporting.scene import set_scene
from perfkit.results.store import cells_of
from tests.profiling.test_phase_times import TWO_STEPS
from tests.reporting.documents import cell, document, large, matrix, small

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURES = ["tokens_per_sec.png", "latency_cdf.png", "memory.png"]


@pytest.fixture(scope="module")
def drawn() -> dict[str, Figure]:
    return figures([large()])


def words(axes: Axes) -> list[str]:
    """Return the labels drawn inside the axes, in order."""
    return [text.get_text() for text in axes.texts]


def widths(axes: Axes) -> list[float]:
    return [bar.get_width() for bar in axes.patches]


@pytest.mark.parametrize(
    ("made", "more"),
    [(small(), ["throughput_vs_batch.png"]), (document(cell(verdict="oom")), []), (document(), [])],
)
def test_whole_pictures_of_what_there_is(
    made: dict[str, Any], more: list[str], tmp_path: Path
) -> None:
    from matplotlib.image import imread

    paths = draw_all([made], tmp_path / "new")
    assert [path.name for path in paths] == PICTURES + more
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(PICTURES + more)
    for path in paths:
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert imread(path).shape[1] == 1430


def test_some_pictures_are_asked_for_by_name(tmp_path: Path) -> None:
    assert [path.name for path in draw_all([small()], tmp_path, ["memory"])] == ["memory.png"]
    with pytest.raises(UsageError, match=r"memroy.*memory"):
        draw_all([small()], tmp_path, ["memroy"])


def test_forty_cells_are_drawn_without_pyplot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
    assert [path.stat().st_size > 20_000 for path in draw_all([large()], tmp_path)] == [True] * 6


def test_titles_tell_model_machine_precision_and_date(drawn: dict[str, Figure]) -> None:
    for figure in drawn.values():
        title = title_of(figure)
        assert all(w in title for w in ("llama2-7b", "NVIDIA H200", "bf16, fp16", "2026-11-24"))
    for figure in figures([small()]).values():
        assert "gpt2-xl, llama2-7b" in title_of(figure)
        assert len(figure.axes) in {1, 2, 4}


def test_a_long_title_is_broken_into_lines() -> None:
    many = [cell(model=f"a-model-with-a-long-name-{i}") for i in range(9)]
    for figure in figures([document(*many)]).values():
        lines = title_of(figure).splitlines()
        assert len(lines) > 2
        assert max(map(len, lines)) <= 110


def test_axes_carry_units(drawn: dict[str, Figure]) -> None:
    labels = {name: [a.get_xlabel() for a in figure.axes] for name, figure in drawn.items()}
    assert "token/s" in labels["tokens_per_sec"][0]
    assert all("ms" in label for label in labels["latency_cdf"])
    assert "GiB" in labels["memory"][0]


def test_bars_are_the_figures_and_doubt_is_labelled() -> None:
    made = document(
        cell(rate=250.0, batch=1),
        cell(rate=100.0, batch=2, verdict="throttled"),
        cell(rate=90.0, batch=4, verdict="clock_mismatch"),
        cell(batch=8, verdict="oom"),
        cell(batch=16, verdict="diverged"),
    )
    (axes,) = figures([made])["tokens_per_sec"].axes
    assert widths(axes) == [250.0, 100.0, 90.0]
    assert words(axes) == ["250", "100  throttled", "90  clock mismatch", "oom", "diverged"]
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [False, True, True]


def test_figures_of_a_diverged_cell_are_never_drawn() -> None:
    name, body = cell()
    body["verdict"] = "diverged"
    pictures = figures([document((name, body))])
    assert words(pictures["tokens_per_sec"].axes[0]) == ["diverged"]
    assert [len(a.lines) for a in pictures["latency_cdf"].axes] == [0, 0]
    assert words(pictures["memory"].axes[0])[-1] == "diverged"


def test_whiskers_span_the_rounds() -> None:
    name, body = cell(batch=2, new=10, rate=10.0)
    body["samples"]["e2e_s"] = [1.0, 2.0, 4.0]
    (axes,) = figures([document((name, body))])["tokens_per_sec"].axes
    (segment,) = axes.collections[0].get_segments()
    assert list(segment[:, 0]) == [5.0, 20.0]


def test_the_axis_is_logarithmic_over_thirty_times() -> None:
    def scale(ratio: float) -> str:
        made = document(cell(rate=10.0, batch=1), cell(rate=10.0 * ratio, batch=2))
        return figures([made])["tokens_per_sec"].axes[0].get_xscale()

    assert (scale(29.0), scale(31.0)) == ("linear", "log")


def test_a_linear_axis_names_its_ticks_exactly() -> None:
    (axes,) = figures([document(cell(rate=250.0))])["tokens_per_sec"].axes
    assert axes.get_xscale() == "linear"
    assert axes.xaxis.get_major_formatter()(2.5, 1) == "2.5"
    assert axes.xaxis.get_major_formatter()(20_000, 1) == "20,000"


def test_small_memory_is_not_rounded_to_nothing() -> None:
    name, body = cell()
    body["memory"]["forecast"] = {"weights_bytes": 2**21, "kv_bytes": 0,
                                  "activation_bytes": 0, "total_bytes": 2**21}  # fmt: skip
    body["metrics"] = {"peak_rss_bytes": 2**29}
    (axes,) = figures([document((name, body))])["memory"].axes
    assert words(axes) == ["0.002", "0.5"]


def test_latency_takes_the_shape_most_arms_share() -> None:
    made = document(
        cell(batch=64),
        cell(batch=2), cell("torch-compile", batch=2),
        cell(batch=4), cell("torch-compile", batch=4),
        cell(batch=8), cell("torch-compile", batch=8, verdict="oom"),
    )  # fmt: skip
    left, right = figures([made])["latency_cdf"].axes
    assert left.get_title(loc="left") == "llama2-7b: batch 4, prompt 512, new 64"
    assert right.get_xscale() == "log"


def test_null_quantiles_have_no_marker() -> None:
    left, right = figures([document(cell())])["latency_cdf"].axes
    assert [line.get_marker() for line in left.lines] == ["None", "o", "s"]
    assert [line.get_marker() for line in right.lines] == ["None", "o", "s", "^"]


def test_memory_is_cut_to_the_largest_and_says_so(drawn: dict[str, Figure]) -> None:
    assert "the 24 largest of 40 cells" in title_of(drawn["memory"])
    assert len(drawn["memory"].axes[0].get_yticks()) == 24
    few = figures([small()])["memory"]
    assert "largest" not in title_of(few)
    assert sum(len(axes.get_yticks()) for axes in few.axes) == 6


def test_memory_stacks_the_forecast_beside_the_peak() -> None:
    name, body = cell()
    gib = 2**30
    body["memory"]["forecast"] = {"weights_bytes": 12 * gib, "kv_bytes": 2 * gib,
                                  "activation_bytes": gib, "total_bytes": 15 * gib}  # fmt: skip
    body["metrics"] |= {"peak_allocated_bytes": 14 * gib, "peak_device_bytes": 16 * gib}
    (axes,) = figures([document((name, body))])["memory"].axes
    assert widths(axes) == [12.0, 2.0, 1.0, 14.0, 2.0]
    assert words(axes) == ["15.0", "14.0, device 16.0"]
    assert "peak_allocated_bytes (filled), peak_device_bytes (outlined)" in axes.get_xlabel()
    body["metrics"] = {"peak_rss_bytes": 16 * gib}
    (axes,) = figures([document((name, body))])["memory"].axes
    assert widths(axes) == [12.0, 2.0, 1.0, 16.0]
    assert words(axes) == ["15.0", "16.0"]


def test_a_tick_shows_what_the_ceilings_measured_beside_it_allow() -> None:
    name, body = cell(batch=4, new=11)
    # 44 tokens in 0.5 * 0.4 + 0.2 * (2.4 - 0.4) = 0.6 s at the ceilings.
    body["metrics"] |= {"ttft_s": 0.4, "e2e_s": 2.4, "mfu": 0.5, "mbu": 0.2}
    picture = figures([document((name, body))])["tokens_per_sec"]
    (tick,) = [line for line in picture.axes[0].lines if line.get_marker() == "|"
               and line.get_xdata()[0] == pytest.approx(44 / 0.6)]  # fmt: skip
    assert tick.get_ydata()[0] == 0
    body["metrics"]["mfu"] = None
    assert set_scene([document((name, body))]).cells[0].at_ceilings is None


def test_an_arm_has_one_colour_and_no_two_share_one() -> None:
    colours = set_scene([large()]).colours
    assert len(colours) == len(set(colours.values())) == 6
    many = [cell(f"engine-{i}", precision=p) for i in range(9) for p in ("bf16", "fp16")]
    assert len(set(set_scene([document(*many)]).colours.values())) == 18


def test_of_repeats_on_one_machine_the_latest_is_drawn() -> None:
    old, new = document(cell(rate=1.0)), document(cell(rate=2.0))
    new["datetime"] = "2026-11-25T00:00:00"
    figure = figures([new, old])["tokens_per_sec"]
    assert widths(figure.axes[0]) == [2.0]
    assert "2026-11-24 to 2026-11-25  |  1 older repeats left out" in title_of(figure)


def test_machines_become_part_of_the_arm() -> None:
    here = document(cell())
    there = document(cell(), machine={"key": "h100", "name": "NVIDIA H100"})
    scene = set_scene([here, there])
    assert list(scene.colours) == ["torch-eager fmha NVIDIA H100", "torch-eager fmha NVIDIA H200"]


def test_bare_cells_do_not_stop_a_picture() -> None:
    made = {"perfkit": {"cells": {"a": {}, "b": {"verdict": "ok", "metrics": {}}}}}
    assert words(figures([made])["tokens_per_sec"].axes[0]) == ["unknown", "no figure"]


def test_the_bars_of_a_large_sweep_are_some_of_its_shapes_and_the_title_says_so() -> None:
    from perfkit.reporting.throughput import throughput

    figure = throughput(set_scene([matrix(("torch-eager",), ("bf16",))]))
    # 32 of the 56 shapes, both arms of each.
    assert "64 of 112 cells: shapes spread over the range" in title_of(figure)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 32
    assert labels[0] == "batch 1, prompt 128, new 32"
    assert labels[-1] == "batch 64, prompt 2048, new 128"


def test_profiled_cells_are_broken_down_by_kernel_class() -> None:
    made = document(cell())
    assert "kernel_breakdown" not in figures([made])
    cells_of(made)[next(iter(cells_of(made)))]["profile"] = summary(TWO_STEPS)
    title = title_of(figures([made])["kernel_breakdown"])
    assert title.startswith("Where the time goes, by kernel class: llama2-7b\nNVIDIA H200")
