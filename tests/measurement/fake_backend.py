"""A backend whose engine does what a test tells it: the module is the backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from perfkit.backends.engine import Loaded
from perfkit.inputs import models
from perfkit.inputs.prompts import PromptSet
from perfkit.machine.ceilings import Ceilings
from perfkit.measurement.clock import DeviceClock
from perfkit.measurement.lab import Lab, Settings
from perfkit.measurement.reference import References
from perfkit.measurement.slot import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource

CEILINGS = Ceilings({"fp32": 1e15, "bf16": 1e15}, 1e15, 1e15, "ok", (), {})
VOCABULARY = 8
PLANS: dict[str, Callable[[int], None]] = {}
"""What to do at each call of ``generate``, by case id; called with the number of the call."""


def unsupported(case: Case, device: str) -> str | None:  # noqa: ARG001
    return "the fake has no fp16" if case.precision == "fp16" else None


def uncheckable(case: Case, source: ModelSource) -> str | None:
    del case, source


def before_rounds_s() -> float:
    return 0.0


def load_key(case: Case) -> Hashable:
    return case.model


def load(case: Case, source: ModelSource, device: str) -> Loaded:  # noqa: ARG001
    return Loaded(None, device)


def build(loaded: Loaded, case: Case) -> FakeEngine:  # noqa: ARG001
    return FakeEngine(case)


class FakeEngine:
    """Token k is k modulo the vocabulary; logits are one-hot."""

    apart: Any = None

    def __init__(self, case: Case) -> None:
        self.notes: dict[str, Any] = {"compiled": False}
        self._case = case
        self._calls = 0

    def generate(
        self, ids: torch.Tensor, new_tokens: int, stamp: Callable[[], None]
    ) -> torch.Tensor:
        self._calls += 1
        PLANS.get(self._case.id, lambda _: None)(self._calls)
        for _ in range(new_tokens):
            stamp()
        return torch.arange(new_tokens).remainder(VOCABULARY).repeat(ids.shape[0], 1)

    def forced_logits(self, ids: torch.Tensor, forced: torch.Tensor) -> Iterator[torch.Tensor]:
        for k in range(forced.shape[1] + 1):
            one_hot = torch.nn.functional.one_hot(torch.tensor(k % VOCABULARY), VOCABULARY)
            yield one_hot.float().repeat(ids.shape[0], 1)

    def release(self) -> None: ...


def fake_lab(clock: DeviceClock | None = None, **settings: Any) -> Lab:
    """Return a lab of this machine's CPU without sampler; three rounds unless told."""
    slot = Slot("cpu", models.find)
    prompts = PromptSet.make(("some text to cut prompts from, long enough",), None, seed=0)
    return Lab(
        device="cpu",
        slot=slot,
        prompts=prompts,
        references=References(slot, prompts, "cpu"),
        clock=clock or DeviceClock(),
        ceilings=CEILINGS,
        sampler=None,
        settings=Settings(**{"rounds": 3, **settings}),
    )
