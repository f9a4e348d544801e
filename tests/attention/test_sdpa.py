"""The one signature: what it computes on a CPU, and what it refuses in which words."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from perfkit.attention import dispatch, inputs, registry, sdpa
from perfkit.attention.problem import Problem
from perfkit.errors import UsageError


def tensors(
    heads: int = 4, kv_heads: int = 2, q_len: int = 9, kv_len: int = 9, head_dim: int = 16
) -> list[torch.Tensor]:
    torch.manual_seed(1)
    shapes = ((2, heads, q_len, head_dim), *[(2, kv_heads, kv_len, head_dim)] * 2)
    return [torch.randn(shape) for shape in shapes]


def test_two_keys_by_hand() -> None:
    q = torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]])
    k = torch.tensor([[[[0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0]]]])
    v = torch.tensor([[[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]]])
    out = sdpa(q, k, v, causal=True, scale=0.5)
    weight = 1 / (1 + torch.e)  # softmax of scores 0 and 2 · 0.5
    assert out.flatten().tolist() == pytest.approx([weight, 1 - weight, 0, 0])


@pytest.mark.parametrize("causal", [False, True])
def test_torchs_flash_attention_agrees_with_the_formula(causal: bool) -> None:
    q, k, v = tensors()
    ours = sdpa(q, k, v, causal=causal, provider="torch-flash")
    assert torch.allclose(ours, sdpa(q, k, v, causal=causal, provider="math"), atol=1e-5)


def test_the_mask_is_aligned_at_the_bottom_right() -> None:
    q, k, v = tensors(q_len=3, kv_len=5)
    out = sdpa(q, k, v, causal=True, provider="math")
    last = sdpa(q[:, :, 2:], k, v, causal=False, provider="math")
    first = sdpa(q[:, :, :1], k[:, :, :3], v[:, :, :3], causal=False, provider="math")
    assert torch.allclose(out[:, :, 2:], last, atol=1e-6)
    assert torch.allclose(out[:, :, :1], first, atol=1e-6)


def test_rows_that_see_no_key_give_zeros() -> None:
    q, k, v = tensors(q_len=5, kv_len=2)
    out = sdpa(q, k, v, causal=True, provider="math")
    assert (out[:, :, :3] == 0).all()
    assert (out[:, :, 3:] != 0).all()


def change(index: int, how: Any) -> list[Any]:
    made: list[Any] = tensors()
    made[index] = how(made[index])
    return made


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: change(0, lambda x: x[0]), r"q has shape \(4, 9, 16\): expected 4 dimensions"),
        (lambda: change(1, lambda x: x.tolist()), "k is of type list: expected a torch.Tensor"),
        (lambda: change(0, lambda x: x.long()), "q is torch.int64: expected bfloat16, float16"),
        (lambda: change(1, lambda x: x.half()), "k is torch.float16 and q is torch.float32"),
        (lambda: change(2, lambda x: x.to("meta")), "v is on meta and q on cpu"),
        (lambda: change(2, lambda x: x[:, :, :4]), r"v has shape .* and k .*: expected the same"),
        (lambda: change(0, lambda x: x[:1]), "k has batch 2 and q 1"),
        (lambda: change(0, lambda x: x[..., :8]), "k has head_dim 16 and q 8"),
        (lambda: change(0, lambda x: x[:, :3]), "q has 3 heads and k 2: expected a multiple"),
        (lambda: change(0, lambda x: x[:, :, :0]), "q has shape .*: expected no empty"),
        (lambda: change(1, lambda x: x.mT.contiguous().mT), "k has stride 9 in its last"),
    ],
)
def test_bad_tensors_are_refused_by_name(made: Any, words: str) -> None:
    q, k, v = made()
    with pytest.raises(UsageError, match=words):
        sdpa(q, k, v, causal=False)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), "x"])
def test_a_scale_is_positive_and_finite(scale: float) -> None:
    with pytest.raises(UsageError, match="expected a positive finite number"):
        sdpa(*tensors(), causal=False, scale=scale)


def test_causal_is_true_or_false() -> None:
    with pytest.raises(UsageError, match="causal 'no': expected True or False"):
        sdpa(*tensors(), causal="no")  # type: ignore[arg-type]


def test_an_unknown_provider_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'triton-hopper'"):
        sdpa(*tensors(), causal=False, provider="triton-hoper")


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("triton-hopper", "needs a Hopper GPU"),
        ("torch-cudnn", "needs a CUDA GPU"),
        ("flex", "needs a CUDA GPU"),
        ("triton", "set TRITON_INTERPRET=1"),
    ],
)
def test_an_absent_provider_says_why_and_nothing_else_runs(
    provider: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.provider(provider)  # imported before the interpreter's switch is off
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(inputs.UnavailableError, match=words):
        sdpa(*tensors(), causal=False, provider=provider)


def test_without_its_package_a_provider_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    reason = registry.provider("trtllm-fmha").unavailable(torch.device("cpu"))
    assert reason == "needs the flashinfer extra: pip install 'perfkit[flashinfer]'"


@pytest.mark.parametrize(
    ("provider", "problem", "words"),
    [
        ("torch-flash", "fp32/causal/b1/h1/kv1/q3/k5/d16", "at the top left"),
        ("torch-cudnn", "fp32/full/b1/h1/kv1/q3/k3/d64", "got fp32"),
        ("torch-efficient", "bf16/full/b1/h4/kv2/q3/k3/d64", "hidden copy"),
        ("triton-hopper", "bf16/full/b1/h4/kv2/q3/k3/d96", "got 96"),
        ("triton-hopper", "bf16/full/b1/h512/kv2/q3/k3/d64", "at most"),
        ("triton-decode", "bf16/full/b1/h4/kv2/q3/k3/d64", "one query row"),
        ("trtllm-xqa", "bf16/full/b1/h4/kv2/q1/k65/d64", "multiple of 64, got 65"),
        ("trtllm-fmha", "bf16/causal/b1/h4/kv2/q64/k65/d64", "equal lengths alone"),
        ("flashinfer-fa3", "bf16/full/b1/h4/kv2/q1/k65/d64", "got q_len 1"),
        ("flex", "bf16/causal/b1/h4/kv2/q9/k5/d64", "rows that see no key"),
    ],
)
def test_what_a_provider_cannot_compute_it_says(provider: str, problem: str, words: str) -> None:
    assert words in str(registry.provider(provider).unsupported(Problem.parse(problem)))


def test_every_name_has_its_provider() -> None:
    for name in registry.NAMES:
        assert registry.provider(name).name == name


def test_memory_orders_are_told_apart() -> None:
    plain = torch.zeros(2, 3, 4, 8, dtype=torch.bfloat16)
    token_major = torch.zeros(2, 4, 3, 8, dtype=torch.bfloat16).transpose(1, 2)
    assert inputs.fits_layout(plain, "bhsd")
    assert not inputs.fits_layout(plain, "bshd")
    assert inputs.fits_layout(token_major, "bshd")
    assert inputs.fits_layout(token_major, "any")
    assert not inputs.fits_layout(plain[..., 1:], "any")
    assert inputs.laid_out(plain, "bhsd") is plain
    copied = inputs.laid_out(plain, "bshd")
    assert inputs.fits_layout(copied, "bshd")
    assert torch.equal(copied, plain)


@pytest.mark.parametrize(
    ("problem", "capability", "name"),
    [
        ("bf16/causal/b1/h4/kv4/q64/k64/d128", (9, 0), "triton-hopper"),
        ("bf16/causal/b1/h4/kv4/q64/k64/d32", (9, 0), "triton"),
        ("bf16/full/b1/h32/kv32/q1/k4096/d128", (9, 0), "triton-decode"),
        ("bf16/full/b16/h32/kv8/q1/k8192/d128", (9, 0), "triton-decode"),
        ("bf16/causal/b1/h4/kv4/q64/k64/d128", (8, 0), "triton"),
        ("bf16/full/b1/h4/kv4/q1/k64/d128", (8, 9), "triton-decode"),
        ("fp32/full/b1/h4/kv4/q9/k64/d128", (9, 0), "triton"),
        ("bf16/full/b1/h4/kv4/q9/k64/d96", (9, 0), "math"),
        ("bf16/full/b1/h4/kv4/q9/k64/d64", (7, 5), "math"),
    ],
)
def test_auto_takes_the_measured_rule_else_plain_triton(
    problem: str, capability: tuple[int, int], name: str
) -> None:
    assert dispatch.by_table(Problem.parse(problem), capability) == name
