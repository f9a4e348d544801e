"""Kernels compiled for GPUs that are not here, in a process of their own.

A process has each kernel either compiled or interpreted, and other tests interpret.

    python -m tests.attention.compiler > builds.json
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.triton_process import answer

if TYPE_CHECKING:
    from collections.abc import Iterable

STRIDES = [f"{x}{d}" for x in "qkvo" for d in "bhs"]
HOPPER = {"d128 full": (128, 2, 2, False), "d128 causal": (128, 2, 2, True),
          "d64 causal": (64, 3, 4, True)}  # fmt: skip


def builds() -> dict[str, dict[str, Any]]:
    """Return what stands in each kernel's code, by name, such as ``portable sm_80``."""
    found: dict[str, dict[str, Any]] = answer("tests.attention.compiler", interpret=False)
    return found


def _compiled(
    kernel: Any,
    signature: dict[str, str],
    constants: dict[str, Any],
    cc: int,
    aligned: Iterable[str] = (),
) -> Any:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.experimental.gluon._runtime import GluonASTSource

    source = GluonASTSource if kernel.is_gluon() else ASTSource
    names = kernel.arg_names
    whole = signature | dict.fromkeys(constants, "constexpr")
    fixed = {(names.index(name),): value for name, value in constants.items()}
    by_16 = {(names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    return triton.compile(
        source(kernel, {name: whole[name] for name in names}, fixed, by_16),
        target=GPUTarget("cuda", cc, 32),
        options={"num_warps": 4},
    )


def _portable(cc: int) -> dict[str, Any]:
    from perfkit.attention.portable_kernel import portable_forward

    pointers = dict.fromkeys(("q_in", "k_in", "v_in", "o_out"), "*bf16")
    ints = dict.fromkeys(("heads", "group", "Sq", "Sk", "tiles", *STRIDES), "i32")
    constants = {"D": 64, "BM": 64, "BN": 32, "STAGES": 2, "CAUSAL": True, "DESC": False,
                 "EVEN": False, "WIDEN": False}  # fmt: skip
    made = _compiled(portable_forward, pointers | ints | {"scale": "fp32"}, constants, cc)
    text = made.asm["ptx"]
    return {"wgmma": "wgmma.mma_async" in text, "mma": "mma.sync" in text}


def _decode(cc: int) -> dict[str, Any]:
    from perfkit.attention.decode_kernel import decode_forward

    pointers = dict.fromkeys(("q_ptr", "k_ptr", "v_ptr", "o_ptr"), "*bf16")
    pointers |= {"sums_ptr": "*fp32", "acc_ptr": "*fp32", "arrived": "*i32"}
    strides = dict.fromkeys(("qb", "qh", "kb", "kh", "ks", "vb", "vh", "vs", "ob", "oh"), "i32")
    others = {"scale": "fp32"} | dict.fromkeys(("Sk", "splits", "chunk", "kv_heads"), "i32")
    constants = {"G": 4, "GP": 16, "D": 64, "BN": 16, "W": 4, "FAN": 8, "GROUPS": 2,
                 "TOGETHER": 4, "STAGES": 3, "EVEN": True, "WIDEN": False}  # fmt: skip
    aligned = pointers | strides
    made = _compiled(decode_forward, aligned | others, constants, cc, aligned)
    return {
        "asynchronous copies": made.asm["ptx"].count("cp.async.wait_group"),
        "a warp's own softmax": "warpsPerCTA = [4, 1, 1]" in made.asm["ttgir"],
    }


def _hopper(head_dim: int, groups: int, stages: int, causal: bool) -> dict[str, Any]:
    from triton.experimental.gluon import language as gl

    from perfkit.attention.hopper_kernel import attention_forward

    def described(rows: int) -> str:
        block = [1, 1, rows, head_dim]
        layout = gl.NVMMASharedLayout.get_default_for(block, gl.bfloat16)
        return f"tensordesc<bf16{block},{layout!r}>"

    tensors = {"qd": 64, "kd": 128, "vd": 128, "od": 64}
    signature = {name: described(rows) for name, rows in tensors.items()}
    signature |= {"order": "*i32", "counts": "*i32", "scale": "fp32"}
    signature |= dict.fromkeys(("Sk", "diagonal", "G", "L"), "i32")
    registers = {2: (240, 24), 3: (160, 32)}[groups]
    constants = {
        "D": head_dim, "BN": 128, "NC": groups, "ST": stages, "LOG_ST": stages.bit_length() - 1,
        "CAUSAL": causal, "TAIL": False, "MORE": False, "SKIP": causal and groups == 3,
        "PING": False, "LAZY": True, "CONSUMER_REGS": registers[0], "PRODUCER_REGS": registers[1],
    }  # fmt: skip
    text = _sass(_compiled(attention_forward, signature, constants, 90))
    windows = re.findall(r"DEPBAR\.LE gsb0, 0x1 ?;(.*?)DEPBAR\.LE gsb0, 0x0 ?;", text, re.DOTALL)
    return {
        "wgmma": "HGMMA" in text,
        "spills": bool(re.search(r"\b(LDL|STL)\b", text)),
        "exponentials": [window.count("MUFU.EX2") for window in windows],
    }


def _sass(made: Any) -> str:
    """Disassemble with the tool that comes with triton."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as binary:
        binary.write(made.asm["cubin"])
        binary.flush()
        return subprocess.run(
            [tool, "--dump-sass", binary.name], check=True, capture_output=True, text=True
        ).stdout


if __name__ == "__main__":
    results: dict[str, dict[str, Any]] = {}
    for capability in (80, 89, 90):
        results[f"portable sm_{capability}"] = _portable(capability)
        results[f"decode sm_{capability}"] = _decode(capability)
    for name, asked in HOPPER.items():
        results[f"hopper {name}"] = _hopper(*asked)
    json.dump(results, sys.stdout)
