from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.generic import is_flash_attention_requested

from perfkit.attention import registry
from perfkit.attention.transformers_hook import decode_provider, register
from perfkit.errors import UsageError

IDS = torch.arange(3, 25).reshape(2, 11)


def llama(kv_heads: int) -> LlamaForCausalLM:
    torch.manual_seed(4)
    config = LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=kv_heads, vocab_size=64, max_position_embeddings=64,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def logits(model: LlamaForCausalLM, implementation: str) -> list[torch.Tensor]:
    """The prompt's logits, then those of three forced decode steps."""
    model.set_attn_implementation(implementation)
    cache, out = None, []
    with torch.inference_mode():
        for step in (IDS, *(torch.full((2, 1), token) for token in (7, 8, 9))):
            made = model(input_ids=step, past_key_values=cache, use_cache=True)
            cache = made.past_key_values
            out.append(made.logits)
    return out


def assert_logits_agree(kv_heads: int, provider: str) -> None:
    model = llama(kv_heads)
    eager = logits(model, "eager")
    ours = logits(model, register(provider))
    for mine, theirs in zip(ours, eager, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("provider", ["math", "torch-flash"])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_logits_agree_with_eager_in_prompt_and_decode(kv_heads: int, provider: str) -> None:
    assert_logits_agree(kv_heads, provider)


def test_logits_agree_with_eager_through_the_triton_kernel() -> None:
    # Interpreted, in a process of its own: Triton reads the switch once.
    code = f"from {__name__} import assert_logits_agree; assert_logits_agree(2, 'triton')"
    subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[2],
        check=True,
    )


def test_padding_is_refused_in_words() -> None:
    model = llama(2)
    model.set_attn_implementation(register("math"))
    seen = torch.ones_like(IDS)
    seen[0, :3] = 0
    with torch.inference_mode(), pytest.raises(UsageError, match="one length without padding"):
        model(input_ids=IDS, attention_mask=seen)


def test_a_mask_of_ones_is_no_padding() -> None:
    model = llama(2)
    model.set_attn_implementation(register("math"))
    with torch.inference_mode():
        plain = model(input_ids=IDS).logits
        masked = model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    assert torch.equal(masked, plain)


@pytest.mark.parametrize("name", registry.NAMES)
def test_transformers_does_not_take_the_name_for_its_own_flash_attention(name: str) -> None:
    assert not is_flash_attention_requested(requested_attention_implementation=register(name))


def test_names_stay_apart() -> None:
    assert len({register(name) for name in registry.NAMES}) == len(registry.NAMES)


def test_an_unknown_provider_is_refused_before_it_is_registered() -> None:
    with pytest.raises(UsageError, match="unknown attention provider 'magic'"):
        register("magic")


@pytest.mark.parametrize("name", ["triton-hopper", "trtllm-fmha", "flashinfer-fa3"])
def test_kernels_for_prompts_alone_leave_decode_to_ours(name: str) -> None:
    assert decode_provider(name) == "triton-decode"
