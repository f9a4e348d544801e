"""The kernels of decoding, compiled for an H100 that is not here, in a process of their own.

A process has each kernel either compiled or interpreted, and other tests interpret.

    python -m tests.decoding.compiler > builds.json
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from tests.triton_process import answer

TENSORS = dict.fromkeys(("x_ptr", "w_ptr", "out_ptr", "gain_ptr"), "*bf16")
TENSORS |= {"scale_ptr": "*fp32", "squares_ptr": "*fp32", "h_ptr": "*fp32", "eps": "fp32"}
MEETING = {"sums_ptr": "*fp32", "arrived": "*i32"}
SCALED = {"PARTS": 2048, "PARTS_P": 2048, "SCALED": True, "DUAL": False, "ADD": False}
# How weights are kept: Triton's name of the type, and its bytes.
KINDS = {"bf16": ("*bf16", 2), "int8": ("*i8", 1), "fp8": ("*fp8e4nv", 1)}
AHEAD = {"AHEAD": 16384, "LAST": 256}
# LLaMA-2-7B's products: N, K and what is fused into each.
PRODUCTS: dict[str, tuple[int, int, dict[str, Any]]] = {
    "qkv": (12288, 4096, SCALED),
    "output": (4096, 4096, SCALED | {"SCALED": False, "PARTS": 0, "PARTS_P": 1, "ADD": True}),
    "gate_up": (11008, 4096, SCALED | {"DUAL": True}),
    "down": (4096, 11008, SCALED | {"SCALED": False, "PARTS": 0, "PARTS_P": 1, "ADD": True}),
}
KEPT = [*((name, "bf16") for name in PRODUCTS), ("gate_up", "int8"), ("down", "fp8")]


def builds() -> dict[str, dict[str, Any]]:
    """Return what stands in each kernel's code, by name, such as ``gemv qkv bf16``."""
    found: dict[str, dict[str, Any]] = answer("tests.decoding.compiler", interpret=False)
    return found


def compiled(
    kernel: Any, signature: dict[str, str], constants: dict[str, Any], warps: int
) -> dict[str, Any]:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    whole = signature | dict.fromkeys(constants, "constexpr")
    fixed = {(names.index(name),): value for name, value in constants.items()}
    by_16 = {
        (names.index(name),): [["tt.divisibility", 16]]
        for name, kind in signature.items()
        if kind.startswith("*")
    }
    made = triton.compile(
        ASTSource(kernel, {name: whole[name] for name in names}, fixed, by_16),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": warps},
    )
    ptx = made.asm["ptx"]
    return {
        "wide loads": len(
            re.findall(r"ld\.global[\w.:]*\.v[48]\.(b32|u32)|ld\.global[\w.:]*v2\.b64", ptx)
        ),
        "asynchronous copies": ptx.count("cp.async.cg.shared.global"),
        "prefetches": ptx.count("cp.async.bulk.prefetch.L2"),
        "tensor products": len(re.findall(r"mma\.sync|wgmma\.mma_async", ptx)),
        "atomics": len(re.findall(r"\b(atom|red)\.", ptx)),
        "shared": made.metadata.shared,
    }


def _products() -> dict[str, dict[str, Any]]:
    from perfkit.decoding.cuts import tile
    from perfkit.decoding.linear_kernel import gemm_rows, gemv_rows

    found = {}
    for name, kept in KEPT:
        (n, k, fused), (pointer, size) = PRODUCTS[name], KINDS[kept]
        tensors = TENSORS | {"w_ptr": pointer}
        cut = tile(n, k, 1, size, dual=fused["DUAL"])
        constants = fused | {"N": n, "K": k, "BN": cut.rows, "BK": cut.columns,
                             "QUANTISED": kept != "bf16"}  # fmt: skip
        one = tensors | {"next_ptr": pointer}
        found[f"gemv {name} {kept}"] = compiled(gemv_rows, one, constants | AHEAD, cut.warps)
        cut = tile(n, k, 8, size, dual=fused["DUAL"])
        if fused["SCALED"]:
            constants |= {"PARTS": 64, "PARTS_P": 64}
        constants |= {"M": 8, "MP": 16, "BN": cut.rows, "BK": cut.columns, "STAGES": cut.stages,
                      "SPLITS": cut.splits, "WIDEN": False}  # fmt: skip
        several = tensors | MEETING
        found[f"gemm {name} {kept}"] = compiled(gemm_rows, several, constants, cut.warps)
    return found


def _attention() -> dict[str, Any]:
    from perfkit.decoding.attention_kernel import attention_step

    pointers = dict.fromkeys(("qkv_ptr", "k_ptr", "v_ptr", "o_ptr"), "*bf16")
    pointers |= dict.fromkeys(("cos_ptr", "sin_ptr", "sums_ptr", "acc_ptr"), "*fp32")
    pointers |= {"pos_ptr": "*i32", "arrived": "*i32", "scale": "fp32", "length": "i32"}
    constants = {"KV": 32, "G": 1, "GP": 16, "D": 128, "BN": 32, "SPLITS": 4, "STAGES": 3,
                 "WIDEN": False}  # fmt: skip
    return compiled(attention_step, pointers, constants, 1)


def _others() -> dict[str, dict[str, Any]]:
    from perfkit.decoding import prompt_kernel
    from perfkit.decoding.token_kernel import argmax_feed

    token = dict.fromkeys(("embedding_ptr", "gain_ptr", "x_ptr"), "*bf16")
    token |= dict.fromkeys(("logits_ptr", "h_ptr", "squares_ptr"), "*fp32")
    token |= {"pos_ptr": "*i32", "history_ptr": "*i64", "width": "i32"}
    token_constants = {"V": 32000, "BV": 32768, "K": 4096, "KP": 4096, "PARTS": 2048,
                       "PARTS_P": 2048, "MP": 1}  # fmt: skip
    norm = dict.fromkeys(("x_ptr", "gain_ptr", "out_ptr"), "*bf16") | {"eps": "fp32"}
    rope = dict.fromkeys(("qkv_ptr", "q_ptr", "k_ptr", "v_ptr"), "*bf16")
    rope |= {"cos_ptr": "*fp32", "sin_ptr": "*fp32", "tokens": "i32", "length": "i32"}
    heads = {"H": 32, "HP": 32, "KV": 32, "KVP": 32, "D": 128, "DP": 64}
    widen = {"w_ptr": "*i8", "scale_ptr": "*fp32", "out_ptr": "*bf16"}
    gate = dict.fromkeys(("gate_up_ptr", "out_ptr"), "*bf16")
    return {
        "argmax_feed": compiled(argmax_feed, token, token_constants, 16),
        "rms_norm_rows": compiled(prompt_kernel.rms_norm_rows, norm, {"K": 4096, "KP": 4096}, 8),
        "rope_store": compiled(prompt_kernel.rope_store, rope, heads, 4),
        "widen": compiled(prompt_kernel.widen, widen, {"K": 4096, "BK": 4096}, 8),
        "silu_mul": compiled(prompt_kernel.silu_mul, gate, {"I": 11008, "BI": 2048}, 8),
    }


if __name__ == "__main__":
    results = _products() | {"attention_step": _attention()} | _others()
    json.dump(results, sys.stdout)
