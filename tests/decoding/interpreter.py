"""Cells of torch-triton by Triton's interpreter, in a process of their own: it is chosen at import.

python -m tests.decoding.interpreter < ids.json > results.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.triton_process import answer


def interpreted(ids: list[str]) -> list[dict[str, Any]]:
    """Run cases, each against torch-eager; return what the logits and tokens of each were."""
    results: list[dict[str, Any]] = answer("tests.decoding.interpreter", ids, interpret=True)
    return results


def _compute(text: str) -> dict[str, Any]:
    import torch

    from perfkit.backends import torch_eager, torch_triton
    from perfkit.cases import Case, reference_of
    from tests.decoding.small import source

    case = Case.parse(text)
    made = torch.Generator().manual_seed(5)
    vocab = source(case.model).arch.vocab
    ids = torch.randint(0, vocab, (case.batch, case.prompt_len), generator=made)
    forced = torch.randint(0, vocab, (case.batch, case.new_tokens - 1), generator=made)
    exact_case = reference_of(case)
    exact = torch_eager.build(torch_eager.load(exact_case, source(case.model), "cpu"), exact_case)
    loaded = torch_triton.load(case, source(case.model), "cpu")
    ours = torch_triton.build(loaded, case, interpreted=True)
    eager = torch_eager.build(loaded, exact_case.but(precision=case.precision))
    truth = list(exact.forced_logits(ids, forced))

    def error(steps: list[torch.Tensor]) -> float:
        pairs = zip(steps, truth, strict=True)
        return max(float((a.float() - b).norm() / b.norm()) for a, b in pairs)

    found = error(list(ours.forced_logits(ids, forced)))
    free = ours.generate(ids, case.new_tokens, lambda: None)
    return {
        "notes": dict(ours.notes),
        "error": found,
        "eager": error(list(eager.forced_logits(ids, forced))),
        "same tokens": torch.equal(free, exact.generate(ids, case.new_tokens, lambda: None)),
    }


if __name__ == "__main__":
    json.dump([_compute(text) for text in json.load(sys.stdin)], sys.stdout)
