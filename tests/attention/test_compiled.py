"""The kernels compile for the GPUs they are meant for, without one here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

triton = pytest.importorskip("triton")


def compiled(
    kernel: Any,
    signature: dict[str, str],
    constants: dict[str, Any],
    cc: int,
    aligned: Iterable[str] = (),
) -> Any:
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


def sass(made: Any, folder: Path) -> str:
    """Disassemble with the tool that comes with triton."""
    binary = folder / "kernel.cubin"
    binary.write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    return subprocess.run(
        [tool, "--dump-sass", binary], check=True, capture_output=True, text=True
    ).stdout


STRIDES = [f"{x}{d}" for x in "qkvo" for d in "bhs"]


@pytest.mark.parametrize("cc", [80, 89, 90])
def test_the_portable_kernel_compiles(cc: int) -> None:
    from perfkit.attention.portable_kernel import portable_forward

    pointers = dict.fromkeys(("q_in", "k_in", "v_in", "o_out"), "*bf16")
    ints = dict.fromkeys(("heads", "group", "Sq", "Sk", "tiles", *STRIDES), "i32")
    constants = {"D": 64, "BM": 64, "BN": 32, "STAGES": 2, "CAUSAL": True, "DESC": False,
                 "EVEN": False, "WIDEN": False}  # fmt: skip
    made = compiled(portable_forward, pointers | ints | {"scale": "fp32"}, constants, cc)
    assert "wgmma.mma_async" in made.asm["ptx"] if cc == 90 else "mma.sync" in made.asm["ptx"]


@pytest.mark.parametrize("cc", [80, 89, 90])
def test_the_decode_kernel_compiles_and_keeps_loads_in_flight(cc: int) -> None:
    from perfkit.attention.decode_kernel import decode_forward

    pointers = dict.fromkeys(("q_ptr", "k_ptr", "v_ptr", "o_ptr"), "*bf16")
    pointers |= {"sums_ptr": "*fp32", "acc_ptr": "*fp32", "arrived": "*i32", "scale": "fp32"}
    names = ("share", "longer", "Sk", "kv_heads", "qb", "qh", "kb", "kh", "ks", "vb", "vh", "vs")
    ints = dict.fromkeys((*names, "ob", "oh"), "i32")
    odd = {"scale", "share", "longer", "Sk", "kv_heads"}
    constants = {"G": 4, "GP": 16, "D": 64, "BN": 64, "PARTS": 8, "STAGES": 3, "EVEN": True,
                 "WIDEN": False}  # fmt: skip
    aligned = [name for name in pointers | ints if name not in odd]
    made = compiled(decode_forward, pointers | ints, constants, cc, aligned)
    # A loop that Triton does not pipeline has no asynchronous copies.
    assert "cp.async.wait_group" in made.asm["ptx"]


def hopper(head_dim: int, groups: int, stages: int, *, causal: bool) -> Any:
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
        "PING": False, "CONSUMER_REGS": registers[0], "PRODUCER_REGS": registers[1],
    }  # fmt: skip
    return compiled(attention_forward, signature, constants, 90)


@pytest.mark.parametrize(
    ("head_dim", "groups", "stages", "causal"),
    [(128, 2, 2, False), (128, 2, 2, True), (64, 3, 4, True)],
)
def test_the_hopper_kernel_spills_nothing_and_hides_its_softmax(
    head_dim: int, groups: int, stages: int, causal: bool, tmp_path: Path
) -> None:
    made = hopper(head_dim, groups, stages, causal=causal)
    text = sass(made, tmp_path)
    assert "HGMMA" in text
    assert not re.search(r"\b(LDL|STL)\b", text), "registers spill to local memory"
    windows = re.findall(r"DEPBAR\.LE gsb0, 0x1 ?;(.*?)DEPBAR\.LE gsb0, 0x0 ?;", text, re.DOTALL)
    # One window in the loop and one at the border of tiles, for each warpgroup; all 64 exponentials
    # of a thread's scores lie in each, between the wait for QK and the wait for PV.
    assert len(windows) == 2 * groups
    assert all(window.count("MUFU.EX2") >= 64 for window in windows)
