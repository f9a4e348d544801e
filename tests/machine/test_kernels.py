from __future__ import annotations

import pytest

from perfkit.machine.kernels import attention_class, describe


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 64>>", "flash"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_31", "cudnn"),
        ("fmha_cutlassF_bf16_aligned_64x128_rf_sm80", "efficient"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "flash"),
        ("void at::native::(anonymous namespace)::softmax_warp_forward<float>", "materialised"),
        ("triton_red_fused__softmax_add_mul_3", "materialised"),
        ("ampere_bf16_s16816gemm", "unknown"),
        ("attention_step", "triton-step"),
        (
            "fmha_v2_flash_attention_bf16_64_128_S_q_k_v_128_causal_tma_ws_sm90_kernel",
            "trtllm-fmha",
        ),
        (
            "flashinfer::PrefillWithKVCacheKernel<flashinfer::AttentionKernelTraits<true>>",
            "flashinfer-fa3",
        ),
    ],
)
def test_real_kernel_names_are_told_apart(name: str, kind: str) -> None:
    assert attention_class([name]) == kind


def test_a_fused_kernel_beside_a_softmax_is_fused() -> None:
    assert attention_class(["flash_fwd_kernel", "softmax_warp_forward"]) == "flash"


def test_the_decode_step_is_the_difference() -> None:
    told = describe("fmha", {"flash_fwd": 32, "gemm": 100}, {"flash_fwd": 32, "gemm": 150, "x": 3})
    assert told["prefill"]["class"] == "flash"
    assert told["prefill"]["launches"] == 132
    assert told["decode"]["launches"] == 53
    assert told["decode"]["class"] == "unknown"
    assert told["decode"]["top_kernels"] == {"gemm": 50, "x": 3}
