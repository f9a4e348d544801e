from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from perfkit.profiling.explain import IDLE, moved
from perfkit.profiling.summary import summary
from perfkit.reporting import profiling
from tests.profiling.test_explain import COMPILED, EAGER
from tests.profiling.test_phase_times import TWO_STEPS, profile


def profiled(**more: Any) -> dict[str, Any]:
    cell = {**EAGER, "metrics": {"ttft_s": 4.0, "tpot_s": 1.5}, "profile": summary(TWO_STEPS)}
    return {**cell, **more}


def test_a_profiled_cell_is_told_by_class() -> None:
    told = list(profiling.lines(profiled()))
    assert told[0] == (
        "a prefill (4000 ms measured): 2 kernels run 3000 ms of a window of 4000 ms; "
        "shares of the kernels' time"
    )
    assert [line.split() for line in told[1:4]] == [
        ["gemm", "2000", "ms", "66.7%"],
        ["fmha", "1000", "ms", "33.3%"],
        ["idle", "gaps", "1000", "ms", "(measured", "less", "kernels)"],
    ]
    assert list(profiling.lines(profiled(profile={"absent": "no kernel"}))) == [
        "no phases: no kernel"
    ]


def test_the_timeline_has_the_windows_of_the_text() -> None:
    alike = profile(
        [
            ("nvjet_gemm", "prefill", "0", 7, 2.0, 3.0),
            ("nvjet_gemm", "decode", "0", 7, 5.25, 0.5),
            ("argmax_kernel", "decode", "0", 7, 5.75, 0.25),
            ("nvjet_gemm", "decode", "0", 7, 7.0, 0.5),
            ("argmax_kernel", "decode", "0", 7, 7.5, 0.5),
        ],
        [("prefill", 1.0, 1.5), ("decode", 1.5, 2.0), ("decode", 2.0, 2.5)],
    )
    figure = profiling.timeline(alike, "a case")
    assert figure is not None
    # From the submission at 1 s to 5 s; and from the end of the first step, 6 s, to 8 s.
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["prefill: 4000 ms", "the last decode step: 2000 ms"]
    assert alike.events is not None
    on_cpu = replace(alike, events=alike.events.assign(device="cpu"))
    assert profiling.timeline(on_cpu, "a case") is None


def test_a_breakdown_says_where_kernels_took_more_than_was_measured() -> None:
    slow = profiled(metrics={"ttft_s": 2.0, "tpot_s": 1.5})
    figure = profiling.breakdown([{"perfkit": {"cells": {"it": slow}}}])
    assert figure is not None
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"3000 ms profiled\n2000 ms measured", "1500 ms"} <= texts
    assert profiling.breakdown([{"perfkit": {"cells": {"it": {**EAGER, "profile": {}}}}}]) is None


def test_a_breakdown_names_machine_and_doubt() -> None:
    document = {"perfkit": {"cells": {"it": profiled(verdict="unstable")},
                            "machine": {"key": "gpu-a", "name": "GPU A"}}}  # fmt: skip
    figure = profiling.breakdown([document])
    assert figure is not None
    assert "GPU A" in figure.get_suptitle()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[0].endswith("n32\nprefill (unstable)")


def test_a_waterfall_ends_where_the_other_arm_is() -> None:
    found = moved(EAGER, COMPILED, "decode")
    documents = [{"perfkit": {"cells": {"it": cell}}} for cell in (EAGER, COMPILED)]
    bars = profiling.waterfall(found, documents).axes[0].patches
    assert bars[0].get_height() == pytest.approx(20)
    assert bars[-1].get_height() == pytest.approx(5)
    last = bars[-2]
    assert last.get_y() + last.get_height() == pytest.approx(5)
    told = list(profiling.waterfall_lines(found))
    assert any(IDLE in line and "-13.7 ms" in line for line in told)
    assert "so no ratio" in told[1]
    assert told[-1] == "torch-compile/bf16/fmha: profiled were the first 8 of 31 steps"
