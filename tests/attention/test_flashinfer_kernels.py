"""What surrounds flashinfer's kernels: views, tables, build filter and environment. No GPU."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch

from perfkit.attention import flashinfer_kernels as kernels
from perfkit.attention import inputs

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What is done once a process is done anew here, and not left to others."""
    for once in (kernels._flashinfer, kernels._plain_fmha_only):
        once.cache_clear()
    yield
    for once in (kernels._flashinfer, kernels._plain_fmha_only):
        once.cache_clear()


def test_packing_and_unpacking_are_views() -> None:
    x = inputs.laid_out(torch.randn(2, 3, 5, 8), "bshd")
    packed = kernels._packed(x)
    assert packed.shape == (10, 3, 8)
    assert packed.is_contiguous()
    assert packed.data_ptr() == x.data_ptr()
    assert torch.equal(packed[7, 1], x[1, 1, 2])  # token 7 is the third of the second sequence
    back = kernels._unpacked(packed, x)
    assert back.data_ptr() == x.data_ptr()
    assert torch.equal(back, x)


def test_tables_say_where_sequences_and_pages_lie() -> None:
    assert kernels._offsets(3, 4, CPU).tolist() == [0, 4, 8, 12]
    assert kernels._offsets(3, 4, CPU).dtype == torch.int32
    assert kernels._pages(2, 3, CPU).tolist() == [[0, 1, 2], [3, 4, 5]]
    lengths = kernels._lengths(2, 64, torch.uint32, CPU)
    assert lengths.tolist() == [64, 64]
    assert lengths.dtype == torch.uint32


def test_tables_are_made_once_a_shape() -> None:
    assert kernels._offsets(3, 4, CPU) is kernels._offsets(3, 4, CPU)
    assert kernels._workspace(64, CPU) is kernels._workspace(64, CPU)


def pretend(monkeypatch: pytest.MonkeyPatch, *names: str) -> dict[str, ModuleType]:
    made = {name: ModuleType(name) for name in names}
    for name, module in made.items():
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent in made:
            setattr(made[parent], child, module)
    return made


def spec(head_size: int, *, valid: bool = True, **features: bool) -> SimpleNamespace:
    names = (
        "alibi",
        "enable_attn_logit_softcapping",
        "return_softmax_stats",
        "enable_skip_softmax",
    )
    return SimpleNamespace(
        head_size=head_size, valid=valid, **{name: features.get(name, False) for name in names}
    )


def test_only_the_plain_kernels_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    made = pretend(
        monkeypatch,
        "flashinfer",
        "flashinfer.jit",
        "flashinfer.jit.attention",
        "flashinfer.jit.attention.fmha_v2",
        "flashinfer.jit.attention.fmha_v2.fmha_library",
    )
    library = made["flashinfer.jit.attention.fmha_v2.fmha_library"]
    library.is_kernel_spec_valid = lambda one: one.valid  # type: ignore[attr-defined]
    kernels._plain_fmha_only()
    keeps = library.is_kernel_spec_valid  # type: ignore[attr-defined]
    assert keeps(spec(64))
    assert keeps(spec(128))
    assert not keeps(spec(256))
    assert not keeps(spec(64, valid=False))
    assert not keeps(spec(64, alibi=True))
    assert not keeps(spec(64, enable_attn_logit_softcapping=True))
    assert not keeps(spec(64, return_softmax_stats=True))
    assert not keeps(spec(64, enable_skip_softmax=True))


def test_the_environment_is_set_only_where_the_user_has_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, "flashinfer", "flashinfer.decode", "flashinfer.prefill")
    monkeypatch.setenv("FLASHINFER_CUDA_ARCH_LIST", "9.0a 10.0a")
    monkeypatch.setenv("FLASHINFER_DISABLE_VERSION_CHECK", "")  # undone afterwards
    monkeypatch.delenv("FLASHINFER_DISABLE_VERSION_CHECK")
    kernels._flashinfer()
    assert os.environ["FLASHINFER_CUDA_ARCH_LIST"] == "9.0a 10.0a"
    assert os.environ["FLASHINFER_DISABLE_VERSION_CHECK"] == "1"
