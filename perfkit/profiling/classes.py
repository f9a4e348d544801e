"""What kind of work a kernel does, by its name: the one table of rules."""

from __future__ import annotations

import functools
import re

CLASSES = (
    "fmha",
    "gemm",
    "norm",
    "rope",
    "elementwise",
    "sampling",
    "memcpy/memset",
    "communication",
    "other",
)
# The first rule whose pattern is found decides. inductor names a kernel by all that it fused, so
# what kind of loop it is comes first, and its norm and rope before its pointwise rest. Softmax by
# itself is of materialised attention: a row-wise pass over scores in memory, no fused attention.
_RULES: tuple[tuple[str, str], ...] = (
    ("communication", r"nccl|rccl|nvshmem|mscclpp|all_?reduce|all_?gather|reduce_?scatter"),
    ("communication", r"cross_device_reduce|all_?to_?all|deep_ep"),
    ("memcpy/memset", r"^\[?(cuda |hip )?mem(cpy|set)|^copyBuffer|^fillBuffer|^__amd_rocclr_"),
    ("gemm", r"^triton_tem_\w*(mm|conv)"),
    ("rope", r"rope|rotary|^triton_\w*_(cos|sin)(_|$)"),
    ("norm", r"rms_?norm|layer_?norm|^triton_\w*rsqrt|MeanOps"),
    ("elementwise", r"topk_?gating|moe_?top_?k"),  # the choice of experts
    (
        "sampling",
        r"argmax|argmin|top_?k|multinomial|sampling|radix_?sort|sort_?pairs|bitonic_?sort",
    ),
    ("elementwise", r"^triton_(poi|red|per)_"),
    # What moves keys and values, whatever reads them then; and gates, whoever's they are.
    ("elementwise", r"reshape_and_cache|AppendPagedKVCache|act_and_mul"),
    ("gemm", r"flashinfer::gemm|fused_moe|marlin|mul_mat|baddbmm"),
    ("fmha", r"fmha|flash|attention(?!_mask)|attn|sdpa|xqa|kernel_mha|mmha|KVCacheKernel"),
    ("fmha", r"^decode_forward|^portable_forward|^_fwd_(grouped_)?kernel"),
    ("gemm", r"gemm|gemv|nvjet|cublas|splitK|cutlass|Cijk_|matmul|(^|[_:])(add|b)?mm(_|$)|linear"),
    ("elementwise", r"elementwise|CatArray|reduce|softmax|index|gather|fill"),
    ("elementwise", r"scatter|copy|cast|embedding|silu|gelu|swiglu|activation|arange|transpose"),
    ("elementwise", r"^aten::(add|mul|sub|div|neg|pow|mean|rsqrt|cos|sin|cat|to|clone|where)_?\b"),
)
_COMPILED = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _RULES)


@functools.lru_cache(maxsize=65_536)
def kernel_class(name: str) -> str:
    """Return the class of a kernel (or of an operator, or a copy), one of CLASSES."""
    return next((kind for kind, pattern in _COMPILED if pattern.search(name)), "other")
