from __future__ import annotations

import pytest

from perfkit.architectures import ARCHITECTURES, Architecture
from perfkit.cases import Case
from perfkit.roofline import (
    decode_work,
    forecast,
    kv_bytes,
    phase_utilisation,
    prefill_work,
    utilisation,
)

SEVEN = ARCHITECTURES["llama2-7b"]
CASE = Case.parse("torch-eager/llama2-7b/bf16/fmha/b1/p128/n2/tp1")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        # The counts that the models' authors publish.
        ("tinyllama-1.1b", 1_100_048_384),
        ("llama2-7b", 6_738_415_616),
        ("llama2-13b", 13_015_864_320),
        ("llama3-8b", 8_030_261_248),
    ],
)
def test_parameter_counts_are_the_published_ones(name: str, params: int) -> None:
    assert ARCHITECTURES[name].params == params


def test_a_token_of_kv_is_half_a_mebibyte_in_llama2_7b() -> None:
    assert kv_bytes(CASE, SEVEN, 1) == 524_288


def test_one_decode_step_reads_the_streamed_weights_once() -> None:
    work = decode_work(CASE, SEVEN)
    weights = 2 * (SEVEN.params - SEVEN.head_params)  # embedding rows only as used
    assert work.bytes == weights + 2 * 4096 + 129 * 524_288
    assert weights == pytest.approx(13.21e9, rel=1e-3)


def test_quantised_layers_have_a_byte_a_weight_and_a_scale_a_row() -> None:
    case = CASE.but(precision="bf16-int8")
    matrices = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11_008)
    scales = 4 * 32 * (5 * 4096 + 2 * 11_008)
    read = matrices + scales + 2 * (65 * 4096 + 32_000 * 4096)
    assert decode_work(case, SEVEN).bytes == read + 2 * 4096 + 129 * 524_288
    predicted = forecast(case, SEVEN)
    assert predicted.weights_bytes == read + 2 * 32_000 * 4096
    whole = forecast(CASE, SEVEN)
    assert predicted.kv_bytes == whole.kv_bytes
    # Gate and up, widened to bf16 for the prompt.
    assert predicted.activation_bytes - whole.activation_bytes == 2 * 2 * 4096 * 11_008
    assert decode_work(case, SEVEN).flops == decode_work(CASE, SEVEN).flops


def test_flops_by_hand_on_a_toy() -> None:
    toy = Architecture(
        hidden=4, intermediate=8, layers=1, heads=2, kv_heads=1, vocab=10, positions=64
    )
    # q 16, k 8, v 8, o 16, and three 4x8 matrices
    assert toy.layer_matrix_params == 48 + 96
    case = CASE.but(batch=3, prompt_len=5, new_tokens=2)
    matrices = 2 * 144 * 15
    head = 2 * 40 * 3
    attention = 4 * 2 * 2 * (5 * 6 / 2) * 3
    assert prefill_work(case, toy).flops == matrices + head + attention
    step = 3 * (2 * (144 + 40) + 4 * 2 * 2 * 6)
    assert decode_work(case, toy).flops == step


def test_no_decode_at_one_token() -> None:
    assert decode_work(CASE.but(new_tokens=1), SEVEN).bytes == 0


def test_materialised_scores_are_forecast() -> None:
    fused = forecast(CASE.but(batch=32, prompt_len=2048), SEVEN)
    scores = forecast(CASE.but(batch=32, prompt_len=2048, attention="nofmha"), SEVEN)
    assert scores.activation_bytes - fused.activation_bytes > 10 * 32 * 32 * 2048**2 * 0.9
    assert fused.total_bytes == fused.weights_bytes + fused.kv_bytes + fused.activation_bytes


@pytest.mark.parametrize(
    ("precision", "attention", "batch", "prompt_len", "measured_gib"),
    [
        ("bf16", "fmha", 1, 128, 12.7),
        ("bf16", "fmha", 32, 2048, 50.6),
        ("bf16", "nofmha", 8, 2048, 31.2),
        ("bf16", "nofmha", 32, 2048, 86.9),
        ("fp16", "nofmha", 1, 2048, 14.7),
        ("fp16", "nofmha", 8, 2048, 29.2),
        ("fp16", "nofmha", 32, 2048, 78.9),
    ],
)
def test_the_forecast_is_within_2_percent_of_peaks_measured_on_an_h200(
    precision: str, attention: str, batch: int, prompt_len: int, measured_gib: float
) -> None:
    case = CASE.but(
        backend="torch-eager", precision=precision, attention=attention, batch=batch,
        prompt_len=prompt_len, new_tokens=64,
    )  # fmt: skip
    assert forecast(case, SEVEN).total_bytes / 2**30 == pytest.approx(measured_gib, rel=0.02)


def test_utilisation_is_null_without_a_ceiling() -> None:
    assert utilisation(50.0, 1.0, 100.0) == 0.5
    assert utilisation(50.0, 1.0, None) is None
    assert utilisation(50.0, None, 100.0) is None


def test_each_phase_is_held_against_what_bounds_it_and_two_devices_share_the_work() -> None:
    arch = ARCHITECTURES["llama2-7b"]
    case = Case(backend="torch-eager", model="llama2-7b", precision="bf16", batch=1, prompt_len=64,
                new_tokens=3, tp=2)  # fmt: skip
    flops, moved = prefill_work(case, arch).flops, decode_work(case, arch).bytes
    found = phase_utilisation(case, arch, (0.5, 2.5), (4 * flops, 4 * moved), 2)
    assert found == pytest.approx({"mfu": 0.25, "mbu": 0.0625})
    assert phase_utilisation(case.but(new_tokens=1), arch, (0.5, 0.5), (None, 1.0), 1) == {
        "mfu": None, "mbu": None
    }  # fmt: skip
