"""On a Hopper GPU: both arms against eager, repeated, one after the other, and released."""

from __future__ import annotations

import pytest
import torch

from perfkit.backends import backend
from perfkit.cases import Case
from perfkit.inputs import models
from perfkit.measurement.slot import give_back_memory


def drawn(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(3)
    vocab = models.find(case.model).arch.vocab
    ids = torch.randint(0, vocab, (case.batch, case.prompt_len), generator=made)
    forced = torch.randint(0, vocab, (case.batch, case.new_tokens - 1), generator=made)
    return ids.cuda(), forced.cuda()


def logits(case: Case) -> list[torch.Tensor]:
    module = backend(case.backend)
    engine = module.build(module.load(case, models.find(case.model), "cuda"), case)
    found = [step.float().cpu() for step in engine.forced_logits(*drawn(case))]
    engine.release()
    return found


def error(found: list[torch.Tensor], exact: list[torch.Tensor]) -> float:
    pairs = zip(found, exact, strict=True)
    return max(float((a - b).norm() / b.norm()) for a, b in pairs)


@pytest.mark.gpu(min_cc=(9, 0))
@pytest.mark.parametrize("arm", ["torch-triton", "torch-compile"])
@pytest.mark.parametrize(
    "rest",
    [
        "llama-tiny/fp32/fmha/b1/p37/n5/tp1",
        "llama-tiny/bf16/fmha/b3/p301/n4/tp1",
        "tinyllama-1.1b/bf16/fmha/b1/p129/n6/tp1",
        "tinyllama-1.1b/fp16/fmha/b8/p65/n4/tp1",
        "tinyllama-1.1b/bf16/fmha/b20/p7/n3/tp1",
        "tinyllama-1.1b/bf16/fmha/b1/p2045/n3/tp1",
    ],
)
def test_the_logits_are_as_near_to_fp32_as_eagers(arm: str, rest: str) -> None:
    case = Case.parse(f"{arm}/{rest}")
    eager = case.but(backend="torch-eager", attention="nofmha")
    exact = logits(eager.but(precision="fp32"))
    limit = 1e-4 if case.precision == "fp32" else 1.5 * error(logits(eager), exact)
    assert error(logits(case), exact) < limit


@pytest.mark.gpu(min_cc=(9, 0))
@pytest.mark.parametrize("batch", [1, 8])
def test_a_step_repeats_bit_for_bit_and_gives_its_memory_back(batch: int) -> None:
    case = Case.parse(f"torch-triton/tinyllama-1.1b/bf16/fmha/b{batch}/p65/n9/tp1")
    module = backend(case.backend)
    loaded = module.load(case, models.find(case.model), "cuda")
    module.build(loaded, case)
    give_back_memory("cuda")
    before = torch.cuda.memory_allocated()
    engine = module.build(loaded, case)
    assert torch.cuda.memory_allocated() == before
    ids, forced = drawn(case)
    first, second = (list(engine.forced_logits(ids, forced)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    tokens = [engine.generate(ids, 9, lambda: None) for _ in range(2)]
    assert torch.equal(*tokens)
    engine.release()
    del engine, first, second, tokens, ids, forced
    give_back_memory("cuda")
    # cuBLAS keeps a workspace of its own.
    assert torch.cuda.memory_allocated() - before < 64 << 20
