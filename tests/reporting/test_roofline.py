from __future__ import annotations

import pytest

from perfkit.architectures import ARCHITECTURES
from perfkit.cases import Case
from perfkit.reporting import roofline
from perfkit.reporting.roofline import Roof
from perfkit.reporting.scene import set_scene
from perfkit.roofline import decode_work, prefill_work
from tests.reporting.documents import cell, document


def test_a_phase_stands_at_its_work_over_its_time() -> None:
    name, body = cell(batch=8, prompt=512, new=64)
    found = roofline.points(set_scene([document((name, body))]).cells, on_gpu=True)
    case, arch = Case(**body["case"]), ARCHITECTURES["llama2-7b"]
    ttft, e2e = body["metrics"]["ttft_s"], body["metrics"]["e2e_s"]
    prefill, decode = prefill_work(case, arch), decode_work(case, arch)
    assert [point.phase for point in found] == ["prefill", "decode"]
    assert [point.flop_per_s for point in found] == pytest.approx(
        [prefill.flops / ttft, decode.flops / (e2e - ttft)]
    )
    assert found[0].flop_per_byte == pytest.approx(prefill.flops / prefill.bytes)


def test_the_work_of_two_gpus_is_counted_for_one() -> None:
    name, body = cell()
    body["case"]["tp"] = 2
    cells = set_scene([document((name, body))]).cells
    alone, shared = (roofline.points(cells, on_gpu=gpu)[0].flop_per_s for gpu in (False, True))
    assert alone == pytest.approx(2 * shared)


def test_a_model_whose_shape_is_not_known_has_no_point() -> None:
    name, body = cell()
    body["case"]["model"] = "local:mine"
    assert roofline.points(set_scene([document((name, body))]).cells, on_gpu=True) == []


def test_ceilings_are_medians_of_what_each_cell_was_measured_beside() -> None:
    bodies = [cell(batch=batch) for batch in (1, 8, 16)]
    for (_, body), gemm in zip(bodies, (7e14, 8e14, 9e14), strict=True):
        body["ceilings"] = {"gemm_flop_per_s": gemm, "copy_bytes_per_s": 4e12}
    assert roofline.roofs([document(*bodies, ceilings=None)]) == [Roof("h200", "bf16", 8e14, 4e12)]


def test_ceilings_that_were_measured_badly_are_no_roof() -> None:
    bad = {"verdict": "INVALID", "gemm_flop_per_s": {"bf16": 1e12}, "copy_bytes_per_s": 1e9}
    assert roofline.roofs([document(cell(), ceilings=bad)]) == []


def test_a_roof_rises_with_the_copy_and_ends_at_the_gemm() -> None:
    assert roofline.line_of(Roof("m", "bf16", 8e14, 4e12), (1.0, 1000.0)) == [
        (1.0, 4e12), (200.0, 8e14), (1000.0, 8e14)
    ]  # fmt: skip
    assert roofline.line_of(Roof("m", "bf16", 8e14, None), (1.0, 9.0)) == [(1.0, 8e14), (9.0, 8e14)]
    assert roofline.line_of(Roof("m", "bf16", None, 4e12), (1.0, 9.0)) == [
        (1.0, 4e12), (9.0, 3.6e13)
    ]  # fmt: skip


def test_the_picture_names_the_measured_ceilings() -> None:
    made = document(cell())
    scene = set_scene([made])
    shown, over = roofline.points(scene.cells, on_gpu=True), roofline.roofs([made])
    figure = roofline.figure("title", scene, shown, over)
    assert figure is not None
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["GEMM bf16 760 TFLOP/s, copy 4,200 GB/s"]
    assert roofline.figure("title", scene, shown, []) is None
