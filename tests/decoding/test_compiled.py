"""torch-compile's layers, run as they are: what they compute, and how far they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from perfkit.backends import torch_compile, torch_eager
from perfkit.cases import Case, reference_of
from perfkit.decoding.cache import Cache
from perfkit.decoding.compiled import Compiled
from perfkit.decoding.weights import fused, rope_tables
from tests.decoding.small import HEADS, source

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.backends.engine import Engine, Loaded


def check(asked: Case) -> None:
    loaded = torch_compile.load(asked, source(asked.model), "cpu")
    eager = torch_eager.build(loaded, asked.but(backend="torch-eager", attention="nofmha"))
    made = torch.Generator().manual_seed(3)
    ids = torch.randint(0, 210, (asked.batch, asked.prompt_len), generator=made)
    forced = torch.randint(0, 210, (asked.batch, asked.new_tokens - 1), generator=made)
    expected = list(eager.forced_logits(ids, forced))
    ours = torch_compile.CompiledEngine(loaded, asked, "compiling is not what is tested")
    for mine, theirs in zip(ours.forced_logits(ids, forced), expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)
    tokens = eager.generate(ids, asked.new_tokens, lambda: None)
    assert torch.equal(ours.generate(ids, asked.new_tokens, lambda: None), tokens)


@pytest.mark.parametrize("model", HEADS)
def test_every_named_model_gives_eagers_logits_and_tokens(model: str) -> None:
    check(Case.parse(f"torch-compile/{model}/fp32/fmha/b3/p7/n3/tp1"))


def test_materialised_scores_give_the_same() -> None:
    check(Case.parse("torch-compile/llama3-8b/fp32/nofmha/b2/p9/n3/tp1"))


@pytest.mark.parametrize("shape", ["b1/p1/n1", "b2/p253/n5", "b1/p1022/n2"])
def test_one_token_the_border_of_a_span_and_the_last_position(shape: str) -> None:
    check(Case.parse(f"torch-compile/llama-tiny/fp32/fmha/{shape}/tp1"))


def test_a_step_reads_up_to_a_quarters_border_at_least_256() -> None:
    model = torch_compile.load(
        Case.parse("torch-compile/llama-tiny/fp32/fmha/b1/p1/n1/tp1"), source("llama-tiny"), "cpu"
    ).model
    weights = fused(model)

    def spans(length: int, *tokens: int) -> list[int]:
        cache = Cache.empty(weights, 1, length)
        step = Compiled(
            weights, cache, rope_tables(model, length), fused=True, compiler=lambda layer: layer
        )
        return [step.span(n) for n in tokens]

    assert spans(100, 1, 100) == [100, 100]
    assert spans(600, 1, 256, 257, 600) == [256, 256, 512, 600]
    assert spans(4000, 1, 1000, 1001, 4000) == [1000, 1000, 2000, 4000]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-int8", "bf16-fp8"])
def test_quantised_layers_compile_and_are_as_near_as_eagers(precision: str) -> None:
    asked = Case.parse(f"torch-compile/llama-tiny/{precision}/fmha/b2/p7/n3/tp1")
    made = torch.Generator().manual_seed(3)
    ids = torch.randint(0, 210, (2, 7), generator=made)
    forced = torch.randint(0, 210, (2, 2), generator=made)

    def logits(case: Case, engine: Callable[[Loaded, Case], Engine]) -> torch.Tensor:
        loaded = torch_compile.load(case, source(case.model), "cpu")
        return torch.stack(list(engine(loaded, case).forced_logits(ids, forced))).float()

    exact = logits(reference_of(asked), torch_eager.build)
    eager = logits(asked.but(backend="torch-eager", attention="nofmha"), torch_eager.build)
    ours = logits(asked, torch_compile.build)
    assert (ours - exact).norm() < 2 * (eager - exact).norm()
    torch.compiler.reset()
