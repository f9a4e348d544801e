from __future__ import annotations

import itertools

import pytest
import torch

from perfkit.attention import dispatch, registry
from perfkit.attention.problem import Problem


@pytest.mark.parametrize(
    ("problem", "name"),
    [
        ("bf16/full/b1/h512/kv512/q64/k64/d64", "triton"),  # more heads than triton-hopper packs
        ("bf16/full/b9000/h2/kv2/q64/k64/d64", "triton"),  # more sequences
        ("bf16/full/b1/h256/kv256/q64/k64/d64", "triton-hopper"),  # exactly as many as it takes
    ],
)
def test_auto_passes_over_a_rule_whose_provider_refuses(problem: str, name: str) -> None:
    assert dispatch.by_table(Problem.parse(problem), (9, 0)) == name


def test_auto_never_names_a_provider_that_refuses_the_problem() -> None:
    for dtype, causal, (q_len, kv_len), head_dim, heads, capability in itertools.product(
        ("bf16", "fp16", "fp32"),
        (False, True),
        ((1, 1), (1, 40_000), (5, 9), (9, 5), (64, 64), (140_000, 140_000)),
        (8, 16, 64, 96, 128, 256),
        ((4, 4), (32, 8), (512, 512)),
        ((7, 5), (8, 0), (9, 0), (10, 0)),
    ):
        problem = Problem(dtype, causal, 1, *heads, q_len, kv_len, head_dim)
        chosen = registry.provider(dispatch.by_table(problem, capability))
        assert chosen.unsupported(problem) is None, (chosen.name, problem.id, capability)


def test_every_rule_names_a_provider() -> None:
    assert {rule.provider for rule in dispatch.RULES} <= set(registry.NAMES)


def test_a_cpu_gets_the_written_out_formula() -> None:
    problem = Problem.parse("bf16/causal/b1/h4/kv4/q64/k64/d128")
    assert dispatch.choose(problem, torch.device("cpu")) == "math"
