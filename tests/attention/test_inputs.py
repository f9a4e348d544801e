from __future__ import annotations

import pytest
import torch

from perfkit.attention import inputs, sdpa
from perfkit.errors import UsageError


def test_a_head_dim_that_no_copy_can_mend_is_named() -> None:
    q = torch.zeros(1, 2, 3, 10)
    with pytest.raises(UsageError, match=r"q has head_dim 10 in torch.float32.*multiple of 4"):
        sdpa(q, q, q, causal=False, provider="math")
    half = torch.zeros(1, 2, 3, 12, dtype=torch.bfloat16)
    with pytest.raises(UsageError, match=r"q has head_dim 12 in torch.bfloat16.*multiple of 8"):
        sdpa(half, half, half, causal=False, provider="math")


@pytest.mark.parametrize("layout", ["any", "bhsd", "bshd"])
def test_what_laid_out_returns_is_accepted(layout: str) -> None:
    shape = (2, 3, 4, 8)
    begins_between = torch.arange(193.0)[1:].view(shape)
    sliced = torch.randn(2, 3, 4, 9)[..., 1:]
    token_major = torch.randn(2, 4, 3, 8).transpose(1, 2)
    for x in (begins_between, sliced, token_major):
        made = inputs.laid_out(x, layout)
        assert inputs.fits_layout(made, layout)
        assert torch.equal(made, x)


def test_a_view_that_begins_between_16_bytes_is_refused_and_laid_out_mends_it() -> None:
    q = torch.arange(33.0)[1:].view(1, 1, 4, 8)
    assert q.is_contiguous()
    with pytest.raises(UsageError, match="laid_out"):
        sdpa(q, q, q, causal=False, provider="math")
    mended = inputs.laid_out(q, "any")
    assert sdpa(mended, mended, mended, causal=False, provider="math").shape == q.shape
