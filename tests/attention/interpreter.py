"""Cases computed by Triton's interpreter, in a process of their own: the switch is read at import.

python -m tests.attention.interpreter  < cases.json  > results.json
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from tests.triton_process import answer


def interpreted(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run cases {provider, problem, layout, times, config}; return figures and an output row."""
    results: list[dict[str, Any]] = answer("tests.attention.interpreter", cases, interpret=True)
    return results


def _compute(case: dict[str, Any]) -> dict[str, Any]:
    import torch

    from perfkit.attention import decode, inputs, portable, registry
    from perfkit.attention.problem import Problem
    from perfkit.attention.reference import accuracy, math_same_dtype, reference

    problem = Problem.parse(case["problem"])
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[problem.dtype]
    torch.manual_seed(0)
    q = torch.randn(problem.batch, problem.heads, problem.q_len, problem.head_dim)
    k, v = (
        torch.randn(problem.batch, problem.kv_heads, problem.kv_len, problem.head_dim)
        for _ in range(2)
    )
    q, k, v = (x.to(dtype) for x in (q * case.get("times", 1.0), k, v))
    q, k, v = (inputs.laid_out(x, case.get("layout", "bhsd")) for x in (q, k, v))
    scale = problem.head_dim**-0.5
    config = case.get("config")
    if config is None:
        out = registry.provider(case["provider"]).run(q, k, v, problem.causal, scale)
    elif case["provider"] == "triton-decode":
        out = decode.attention(q, k, v, problem.causal, scale, decode.Config(**config))
    else:
        out = portable.attention(q, k, v, problem.causal, scale, portable.Config(**config))
    exact = reference(q, k, v, problem.causal, scale)
    judged = accuracy(out, exact, math_same_dtype(q, k, v, problem.causal, scale))
    first = out[0, 0, 0].float()
    return asdict(judged) | {
        "ok": judged.ok,
        "dtype": str(out.dtype),
        "same_strides": out.stride() == q.stride(),
        "first_row": first.tolist(),
    }


if __name__ == "__main__":
    json.dump([_compute(case) for case in json.load(sys.stdin)], sys.stdout)
