from __future__ import annotations

import pytest

from perfkit.profiling.classes import CLASSES, kernel_class

# As profilers print them, cut behind what tells the kind.
REAL = {
    "gemm": (
        "nvjet_tst_192x192_64x4_2x1_v_bz_coopB_bias_TNN",
        "nvjet_sm100_tst_64x8_64x16_2x1_v_bz_splitK_TNT",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_cublas",
        "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x4_tn",
        "std::enable_if<!T7, void>::type internal::gemvx::kernel<int, int, __nv_bfloat16>(T13)",
        "void gemv2T_kernel_val<int, int, __nv_bfloat16, __nv_bfloat16, __nv_bfloat16, float>",
        "void cublasLt::splitKreduce_kernel<(int)32, (int)16, int, __nv_bfloat16>",
        "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x1_tn>",
        "Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT256x192x64_MI16x16x1_SN_LDSB1_AFC1",
        "triton_tem_fused_mm_12",
        "fused_moe_kernel",
        "void marlin::Marlin<__nv_bfloat16, 256>",
        "void flashinfer::gemm::DeviceGemm",
        "aten::baddbmm",
        "aten::addmm",
        "aten::mm",
        "aten::linear",
    ),
    "fmha": (
        "void flash::flash_fwd_splitkv_kernel<Flash_fwd_kernel_traits<(int)128, (int)64>>",
        "void flash::flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<(int)128>>",
        "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<64, 128>>",
        "fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel)",
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1",
        "fmhaSm100fKernel_QkvBfloat16OBfloat16H128PagedKvCausalP64MultiCtasKvCgaVarSeqQ8Kv128",
        "fmha_v2_flash_attention_bf16_64_128_S_q_paged_kv_128_causal_sm90_kernel_nl_tiled",
        "void tensorrt_llm::kernels::mmha::masked_multihead_attention_kernel<__nv_bfloat16>",
        "xqa_kernel_dt_bf16_hd_128_beam_1_group_8_m_8_pagedKV_64_sm_90",
        "kernel_mha",
        "attn_fwd",
        "triton_tem_fused_flex_attention_3",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
    ),
    "norm": (
        "_rms_norm",
        "void at::native::<unnamed>::vectorized_layer_norm_kernel<float, float, (bool)0>",
        "void vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>",
        "triton_red_fused_add_mean_mul_pow_rsqrt_0",
    ),
    "rope": (
        "void vllm::rotary_embedding_kernel<c10::BFloat16, true>",
        "triton_poi_fused_cat_cos_mul_neg_sin_5",
    ),
    "elementwise": (
        "aten::add_",
        "aten::div_",
        "void tensorrt_llm::kernels::topkGatingSoftmax<float, 8, 32>",
        "void at::native::vectorized_elementwise_kernel<4, at::native::silu_kernel>",
        "void at::native::<unnamed>::CatArrayBatchedCopy_vectorized<at::native::OpaqueType>",
        "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<bool, and_kernel_cuda>>",
        "void <unnamed>::softmax_warp_forward<float, float, float, (int)6, (bool)0, (bool)0>",
        "void at::native::(anonymous namespace)::indexSelectLargeIndex<c10::BFloat16, long>",
        "triton_poi_fused__unsafe_view_mul_silu_2",
        "mha_reshape_and_cache_kernel",
        "void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, __nv_bfloat16>",
    ),
    "sampling": (
        "void at::native::sbtopk::gatherTopK<float, unsigned int, (int)1, (bool)0>",
        "void at::native::reduce_kernel<512, 1, ReduceOp<float, at::native::ArgMaxOps<float>>>",
        "void at::native::bitonicSortKVInPlace<(int)-2, (int)-1, (int)16, (int)16, long, long>",
        "void at_cuda_detail::cub::DeviceRadixSortSingleTileKernel<at_cuda_detail::cub::Policy>",
    ),
    "memcpy/memset": (
        "Memcpy HtoD (Pageable -> Device)",
        "Memset (Device)",
        "[CUDA memcpy Device-to-Host]",
        "__amd_rocclr_fillBufferAligned",
    ),
    "communication": (
        "all_to_all_kernel",
        "deep_ep::intranode::dispatch<8, 768>",
        "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<(unsigned long)4096>)",
        "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "void tensorrt_llm::kernels::oneShotAllReduceKernel<__nv_bfloat16, 8, true>",
    ),
    "other": ("add_one(const float *, float *, int)", "CUDA graph (no node data)"),
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in REAL.items() for name in names]
)
def test_real_names_have_their_class(kind: str, name: str) -> None:
    assert kernel_class(name) == kind


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("elementwise", "triton_poi_fused__to_copy_flex_attention_ones_slice_3"),
        ("elementwise", "triton_poi_fused_addmm_gelu_5"),
        ("elementwise", "void flashinfer::activation::act_and_mul_kernel<__nv_bfloat16>"),
        ("elementwise", "flashinfer::AppendPagedKVCacheKernel"),
        ("communication", "void vllm::cross_device_reduce_1stage<__nv_bfloat16, 2>"),
        ("fmha", "_fwd_grouped_kernel_stage1"),
        ("fmha", "triton_tem_fused_flex_attention_2"),
        # What torch-triton's step and prompt are made of.
        ("gemm", "gemv_rows"),
        ("gemm", "gemm_rows"),
        ("fmha", "attention_step"),
        ("sampling", "argmax_feed"),
        ("norm", "rms_norm_rows"),
        ("rope", "rope_store"),
        ("elementwise", "silu_mul"),
    ],
)
def test_what_a_name_was_fused_with_or_lies_in_does_not_decide(kind: str, name: str) -> None:
    assert kernel_class(name) == kind


def test_each_class_is_shown_by_a_name() -> None:
    assert set(REAL) == set(CLASSES)
