"""PyTorch beside TensorRT-LLM: the same workloads, and no word that invites a ratio."""

from __future__ import annotations

import pytest

from perfkit.errors import UsageError
from perfkit.reporting.plots import title_of
from perfkit.reporting.sides import figures, in_common, timed_sides
from tests.reporting.documents import cell, document
from tests.reporting.layout import clashes

HERE = {"key": "h200", "name": "NVIDIA H200"}
THERE = {"key": "h100", "name": "NVIDIA H100"}
ENGINE = cell("trtllm-engine", rate=300.0)


def test_the_same_workload_stands_side_by_side_and_the_rest_is_counted() -> None:
    torch = document(cell(rate=250.0), cell(batch=2), cell(precision="fp16"), cell("other"))
    drawn = figures([torch, document(ENGINE)])
    assert list(drawn) == ["trt_tokens_per_sec", "trt_latency_cdf"]
    (axes,) = drawn["trt_tokens_per_sec"].axes
    assert [bar.get_width() for bar in axes.patches] == [250.0, 300.0]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 2
    title = title_of(drawn["trt_tokens_per_sec"])
    assert "PyTorch against TensorRT-LLM: llama2-7b" in title
    assert "3 cells without a counterpart left out" in title


def test_each_arm_names_its_machine_where_they_differ() -> None:
    documents = [document(cell(), machine=HERE), document(ENGINE, machine=THERE)]
    for figure in figures(documents).values():
        assert "different machines: do not read a ratio" in title_of(figure)
        legend = (figure.legends or [figure.axes[-1].get_legend()])[0]
        words = [text.get_text() for text in legend.get_texts()]
        assert "torch-eager fmha NVIDIA H200" in words
        assert "trtllm-engine fmha NVIDIA H100" in words


def test_one_machine_has_no_such_warning() -> None:
    for figure in figures([document(cell(), ENGINE)]).values():
        assert "different machines" not in title_of(figure)
        assert "left out" not in title_of(figure)


def test_no_words_stand_on_others() -> None:
    arms = (("trtllm-engine", "fmha"), ("trtllm-engine", "nofmha"), ("trtllm-pytorch", "fmha"))
    shapes = [(batch, prompt) for batch in (1, 8, 32) for prompt in (128, 2048)]
    torch = [cell(attention=a, batch=b, prompt=p) for b, p in shapes for a in ("fmha", "nofmha")]
    trt = [cell(e, attention=a, batch=b, prompt=p) for b, p in shapes for e, a in arms]
    documents = [document(*torch, machine=HERE), document(*trt, machine=THERE)]
    assert clashes(figures(documents)["trt_tokens_per_sec"]) == []


def test_a_cell_that_could_not_run_is_no_side() -> None:
    absent = cell("trtllm-engine", verdict="unsupported")
    assert timed_sides([document(cell(), absent)]) == {"PyTorch"}
    failed = cell("trtllm-engine", verdict="oom")
    assert timed_sides([document(failed, cell("other"))]) == set()
    both = [document(cell(), absent, cell("trtllm-engine", verdict="unstable"))]
    assert timed_sides(both) == {"PyTorch", "TensorRT-LLM"}
    assert len(in_common(both)[0]["perfkit"]["cells"]) == 2


def test_nothing_in_common_is_refused_and_told() -> None:
    with pytest.raises(UsageError) as told:
        in_common([document(cell(batch=1)), document(cell("trtllm-engine", batch=2))])
    assert "PyTorch has llama2-7b bf16 b1 p512 n64 tp1; TensorRT-LLM has llama2-7b bf16 b2" in str(
        told.value
    )
