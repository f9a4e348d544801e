"""How long a batch takes, fitted to our own results: prefill, and a step of decoding.

Model, all coefficients >= 0: prefill = c0 + c1 * b * P + c2 * b * P^2; a step = c3 + c4 * b +
c5 * b * context, with b sequences, P prompt tokens, and the tokens that a step attends to.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.errors import UsageError
from perfkit.results.store import cells_of
from perfkit.results.validity import machine_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.results.store import Document

# Beyond this many times what was measured, no fit is asked.
REACH = 2.0
_TERMS = 3
_ARM = ("backend", "model", "precision", "attention", "tp")


@dataclass(frozen=True)
class Sample:
    """One measured cell: its shape, and the seconds of its prefill and of one decode step.

    ``step_s`` is None where a cell has one new token.
    """

    batch: int
    prompt_len: int
    new_tokens: int
    prefill_s: float
    step_s: float | None

    @property
    def context(self) -> float:
        """Tokens that a step of this cell attends to, in the mean over its steps."""
        return self.prompt_len + self.new_tokens / 2


@dataclass(frozen=True)
class Error:
    """Relative errors of a fit at points it had not seen: of each sample, the others fitted."""

    mean: float
    worst: float
    samples: int


@dataclass(frozen=True, eq=False)
class Split:
    """Seconds of a batch of b = 0..B requests: its prefill and one of its steps, float64 tables.

    ``step_s`` is None where there is one new token, and so no step.
    """

    prefill_s: np.ndarray
    step_s: np.ndarray | None


@dataclass(frozen=True)
class Service:
    """Seconds of a prefill and of a decode step; ``batch``, ``prompt_len`` and ``context`` are the
    largest that were measured, infinite where numbers were given.

    ``prefill`` and ``step`` are (c0, c1, c2) and (c3, c4, c5) of the module's model. ``of`` says
    what was measured, arm and machine; None where nobody has said it.
    """  # noqa: D205

    prefill: tuple[float, float, float]
    step: tuple[float, float, float]
    batch: float = float("inf")
    prompt_len: float = float("inf")
    context: float = float("inf")
    prefill_error: Error | None = None
    step_error: Error | None = None
    of: str | None = None

    def __post_init__(self) -> None:
        """Refuse times that cannot be."""
        numbers = (*self.prefill, *self.step)
        if not all(np.isfinite(one) and one >= 0 for one in numbers):
            raise UsageError(f"service times need finite numbers >= 0, got {numbers}")
        if not any(self.prefill) and not any(self.step):
            raise UsageError("a service that takes no time at all has no queue to simulate")

    def prefill_s(self, batch: int, prompt_len: int) -> float:
        """Return the seconds of a batch's prefill. Raises UsageError far outside what was seen."""
        self._within(batch=batch, prompt_len=prompt_len)
        return _value(self.prefill, _prefill_row(batch, prompt_len))

    def step_s(self, batch: int, context: float) -> float:
        """Return the seconds of one step that attends to ``context`` tokens in each sequence."""
        self._within(batch=batch, context=context)
        return _value(self.step, _step_row(batch, context))

    def total_s(self, batch: int, prompt_len: int, new_tokens: int) -> float:
        """Return the seconds of a whole generation: prefill, and N - 1 steps at their mean."""
        first = self.prefill_s(batch, prompt_len)
        if new_tokens == 1:
            return first
        return first + (new_tokens - 1) * self.step_s(batch, prompt_len + new_tokens / 2)

    def table(self, max_batch: int, prompt_len: int, new_tokens: int) -> np.ndarray:
        """Return ``total_s`` of batches 0..max_batch, (max_batch + 1,) float64; of 0 it is 0."""
        rows = [self.total_s(b, prompt_len, new_tokens) for b in range(1, max_batch + 1)]
        return np.array([0.0, *rows])

    def split(self, max_batch: int, prompt_len: int, new_tokens: int) -> Split:
        """Return what ``table`` adds up; a step is one in the middle of the generation."""
        batches = range(1, max_batch + 1)
        prefill = np.array([0.0, *(self.prefill_s(b, prompt_len) for b in batches)])
        if new_tokens == 1:
            return Split(prefill, None)
        context = prompt_len + new_tokens / 2
        return Split(prefill, np.array([0.0, *(self.step_s(b, context) for b in batches)]))

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a reach that is infinite is null."""
        told = asdict(self)
        return {name: None if value == float("inf") else value for name, value in told.items()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Service:
        """Read what ``to_json`` gave. Raises UsageError for numbers that are no service."""
        try:
            reach = {name: told[name] for name in ("batch", "prompt_len", "context")}
            prefill = [float(one) for one in told["prefill"]]
            step = [float(one) for one in told["step"]]
            return cls(
                prefill=(prefill[0], prefill[1], prefill[2]),
                step=(step[0], step[1], step[2]),
                **{
                    name: float("inf") if one is None else float(one) for name, one in reach.items()
                },
                prefill_error=_error(told["prefill_error"]),
                step_error=_error(told["step_error"]),
                of=None if told.get("of") is None else str(told["of"]),  # older files lack it
            )
        except (KeyError, TypeError, IndexError) as error:
            raise UsageError(f"not a fitted service: {error!r}") from None

    def _within(self, **asked: float) -> None:
        for name, value in asked.items():
            most = getattr(self, name)
            if value > REACH * most:
                raise UsageError(
                    f"{name} {value:g} is over {REACH:g} times the largest measured, {most:g}: "
                    "measure nearer to it, or give the service time by numbers"
                )


def fit(samples: Sequence[Sample], of: str | None = None) -> Service:
    """Fit non-negative least squares of relative errors, and say how far off it is unseen.

    ``of`` says what the samples were measured of.

    Raises UsageError for fewer shapes than the model needs.
    """
    prefills = [(_prefill_row(s.batch, s.prompt_len), s.prefill_s) for s in samples]
    steps = [(_step_row(s.batch, s.context), s.step_s) for s in samples if s.step_s is not None]
    for what, rows in (("prefill", prefills), ("decode step", steps)):
        shapes = {row for row, _ in rows}
        if len(shapes) <= _TERMS or len({row[1] for row in shapes}) < 2:
            raise UsageError(
                f"a fit of the {what} needs over {_TERMS} cells of different shapes, with two "
                f"batches or lengths at least; found {len(shapes)}: measure more of them"
            )
    return Service(
        prefill=_nnls(prefills),
        step=_nnls(steps),
        batch=max(s.batch for s in samples),
        prompt_len=max(s.prompt_len for s in samples),
        context=max(s.prompt_len + s.new_tokens for s in samples),
        prefill_error=_unseen(prefills),
        step_error=_unseen(steps),
        of=of,
    )


def samples(documents: Iterable[Document], arm: Mapping[str, Any]) -> tuple[str, list[Sample]]:
    """Return the arm and machine, in words, and the ``ok`` cells whose case has these values.

    Raises UsageError where cells of several arms are left, naming them, or none is.
    """
    cases: dict[tuple[Any, ...], list[Sample]] = {}
    for document in documents:
        for cell in cells_of(document).values():
            case = cell["case"]
            if cell["verdict"] == "ok" and all(case[name] == arm[name] for name in arm):
                key = (machine_key(document), *(case[name] for name in _ARM))
                cases.setdefault(key, []).append(_sample(cell))
    if not cases:
        wanted = ", ".join(f"{name} {value}" for name, value in arm.items()) or "any arm"
        raise UsageError(f"no cell of verdict ok for {wanted}: nothing to fit")
    if len(cases) > 1:
        named = "; ".join("/".join(map(str, one)) for one in sorted(cases, key=str))
        raise UsageError(
            f"cells of {len(cases)} arms and machines: {named}; give files of one machine, and "
            f"choose by {', '.join(_ARM)}"
        )
    (((machine, *values, tp), its),) = cases.items()
    return f"{'/'.join(map(str, values))}/tp{tp} on {machine}", its


def _error(told: Mapping[str, Any] | None) -> Error | None:
    return None if told is None else Error(**told)


def _sample(cell: Mapping[str, Any]) -> Sample:
    case, metrics = cell["case"], cell["metrics"]
    return Sample(
        batch=case["batch"],
        prompt_len=case["prompt_len"],
        new_tokens=case["new_tokens"],
        prefill_s=metrics["ttft_s"],
        step_s=metrics["tpot_s"],
    )


def _prefill_row(batch: int, prompt_len: int) -> tuple[float, float, float]:
    return (1.0, float(batch * prompt_len), float(batch * prompt_len**2))


def _step_row(batch: int, context: float) -> tuple[float, float, float]:
    return (1.0, float(batch), batch * context)


def _value(coefficients: tuple[float, float, float], row: tuple[float, float, float]) -> float:
    return float(np.dot(coefficients, row))


Rows = list[tuple[tuple[float, float, float], float]]


def _nnls(rows: Rows) -> tuple[float, float, float]:
    """Return the coefficients whose relative errors have the least squares, none negative."""
    from scipy.optimize import nnls

    matrix = np.array([row for row, _ in rows])
    seconds = np.array([value for _, value in rows])
    relative = matrix / seconds[:, None]
    # Columns of like size, so that no coefficient is lost beside another's.
    size = np.linalg.norm(relative, axis=0)
    found, _ = nnls(relative / size, np.ones(len(rows)))
    first, second, third = (float(one) for one in found / size)
    return (first, second, third)


def _unseen(rows: Rows) -> Error:
    errors = []
    for left, (row, seconds) in enumerate(rows):
        others = [one for place, one in enumerate(rows) if place != left]
        errors.append(abs(_value(_nnls(others), row) / seconds - 1))
    return Error(statistics.fmean(errors), max(errors), len(errors))
