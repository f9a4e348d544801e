from __future__ import annotations

from itertools import groupby

from perfkit.cases import Matrix
from perfkit.plan import PlannedCell
from perfkit.sweep.groups import grouped

CELLS = [
    PlannedCell(case, "gpu", 0.0)
    for case in Matrix.parse(
        """
        device = "gpu"
        [axes]
        backend = ["torch-eager", "torch-compile"]
        model = ["llama-tiny"]
        precision = ["bf16", "fp16"]
        attention = ["nofmha", "fmha"]
        batch = [1, 2, 4, 8]
        prompt_len = [16, 32, 64]
        new_tokens = [8]
        """,
        "test",
    ).cases()
]


def test_a_group_is_what_one_loaded_model_serves() -> None:
    groups = grouped(CELLS, seed=1)
    assert sorted(group.name for group in groups) == [
        "llama-tiny bf16 tp1", "llama-tiny fp16 tp1",
    ]  # fmt: skip
    assert sorted(i for group in groups for i in group.ids) == sorted(c.case.id for c in CELLS)


def test_the_seed_decides_the_order_and_the_arms_of_a_workload_stay_together() -> None:
    assert grouped(CELLS, seed=1) == grouped(CELLS, seed=1)
    assert grouped(CELLS, seed=1) != grouped(CELLS, seed=2)
    for group in grouped(CELLS, seed=1):
        works = [(c.case.batch, c.case.prompt_len) for c in group.cells]
        assert [len(list(arms)) for _, arms in groupby(works)] == [4] * 12
        assert works != sorted(works)
