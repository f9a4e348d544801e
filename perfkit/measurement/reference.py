"""The fp32 reference of the agreement check: its tokens, its logits, and the distance to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perfkit.cases import reference_of
from perfkit.results.agreement import Agreement, first_difference, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch

    from perfkit.backends.engine import Engine
    from perfkit.cases import Case
    from perfkit.inputs.prompts import PromptSet
    from perfkit.measurement.slot import Slot

PROMPTS = 2  # distinct prompts; the rows of a batch take them by turns
STEPS = 16  # tokens of a free run, and logits compared per row, the prompt's own included


@dataclass(frozen=True)
class Reference:
    """Greedy tokens (2, S) and teacher-forced fp32 logits, S of (2, V), kept on the host.

    S is the case's new tokens, STEPS at most.
    """

    tokens: torch.Tensor
    logits: tuple[torch.Tensor, ...]

    def forced(self, batch: int) -> torch.Tensor:
        """Return the tokens to force on ``batch`` rows, (B, STEPS - 1)."""
        return self.tokens[_turns(batch)][:, : len(self.logits) - 1]


@dataclass
class References:
    """References by model and shape, made when first needed, for all shapes of the plan at once.

    Making one empties the slot for the fp32 weights; doing all shapes together loads them once.
    """

    slot: Slot
    prompts: PromptSet
    device: str
    plan: tuple[Case, ...] = ()
    _references: dict[Case, Reference] = field(default_factory=dict)
    _baselines: dict[Case, float] = field(default_factory=dict)

    def check(self, case: Case, engine: Engine, generated: torch.Tensor) -> Agreement:
        """Judge an engine by its teacher-forced logits; ``generated`` is its free run, (B, S)."""
        reference = self._reference(case)
        error = self._error(engine, reference, case)
        turns = _turns(case.batch)
        return judge(
            error,
            self._baseline(case),
            steps=len(reference.logits),
            rows=case.batch,
            first_divergence=first_difference(generated.tolist(), reference.tokens[turns].tolist()),
            divergence_gap=divergence_gap(generated, reference),
        )

    def prepare(self, case: Case) -> None:
        """Make the reference and the eager arm's own error, so that the slot is free after."""
        self._reference(case)
        self._baseline(case)

    def ids(self, batch: int, length: int) -> torch.Tensor:
        """Return the agreement prompts for ``batch`` rows, (B, P), on the device."""
        import torch

        rows = self.prompts.agreement_batch(batch, length)
        return torch.from_numpy(rows).to(self.device)

    def _reference(self, case: Case) -> Reference:
        wanted = _arm(case)
        if wanted not in self._references:
            for shape in _shapes(wanted, self.plan):
                engine = self.slot.engine(shape)
                tokens = engine.generate(
                    self.ids(PROMPTS, shape.prompt_len), shape.new_tokens, _nothing
                ).clone()
                forced = engine.forced_logits(self.ids(PROMPTS, shape.prompt_len), tokens[:, :-1])
                logits = tuple(step.float().cpu() for step in forced)
                self._references[shape] = Reference(tokens.cpu(), logits)
                engine.release()
        return self._references[wanted]

    def _baseline(self, case: Case) -> float:
        """Return the eager, score-materialising arm's own error at the case's precision."""
        arm = _arm(case).but(precision=case.precision)
        if arm not in self._baselines:
            engine = self.slot.engine(arm)
            self._baselines[arm] = self._error(engine, self._reference(case), arm)
            engine.release()
        return self._baselines[arm]

    def _error(self, engine: Engine, reference: Reference, case: Case) -> float:
        ids = self.ids(case.batch, case.prompt_len)
        forced = reference.forced(case.batch).to(self.device)
        return relative_l2(engine.forced_logits(ids, forced), reference.logits)


def relative_l2(steps: Iterable[torch.Tensor], reference: Sequence[torch.Tensor]) -> float:
    """Return the worst row's relative L2 over all steps.

    ``steps`` are (B, V) logits; ``reference`` (2, V) each, taken by turns. Formula, per row:
    sqrt(sum over steps and vocabulary of (logit - reference)^2 / same of reference^2).
    """
    import torch

    wrong: torch.Tensor | None = None
    right: torch.Tensor | None = None
    for step, truth in zip(steps, reference, strict=True):
        expected = truth.to(step.device)[_turns(step.shape[0])]
        error = (step.float() - expected).square().sum(dim=-1).double()
        size = expected.square().sum(dim=-1).double()
        wrong = error if wrong is None else wrong + error
        right = size if right is None else right + size
    if wrong is None or right is None:
        return float("nan")
    return float(torch.sqrt(wrong / right).max())


def divergence_gap(generated: torch.Tensor, reference: Reference) -> float | None:
    """Return how far off the first differing token of a free run is, the worst row's; None if none.

    ``generated`` is (B, S). Up to there a row and the reference have the same tokens, so the
    reference's logits of that step judge the token. Formula: (logit of the reference's token -
    logit of the row's) / rms of the logits.
    """
    worst: float | None = None
    for row, turn in zip(generated.cpu(), _turns(generated.shape[0]), strict=True):
        differs = (row != reference.tokens[turn]).nonzero()
        if len(differs) == 0:
            continue
        step = int(differs[0])
        logits = reference.logits[step][turn].double()
        chosen, right = int(row[step]), int(reference.tokens[turn, step])
        gap = float((logits[right] - logits[chosen]) / logits.square().mean().sqrt())
        worst = gap if worst is None else max(worst, gap)
    return worst


def free_run(case: Case) -> int:
    """Return how many tokens the untimed free run of a case has."""
    return min(case.new_tokens, STEPS)


def _arm(case: Case) -> Case:
    """Return the reference's case: as many tokens as are compared, whatever the cell goes on to."""
    return reference_of(case).but(batch=PROMPTS, new_tokens=free_run(case))


def _turns(batch: int) -> list[int]:
    return [k % PROMPTS for k in range(batch)]


def _shapes(wanted: Case, plan: tuple[Case, ...]) -> tuple[Case, ...]:
    """Return the reference cases of the plan's shapes for these weights, the wanted one first."""
    arms = (_arm(case) for case in plan if case.model == wanted.model)
    same = (arm for arm in arms if arm.precision == wanted.precision)
    return tuple(dict.fromkeys((wanted, *same)))


def _nothing() -> None:
    """Take no stamp."""
