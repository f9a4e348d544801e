"""What the pictures are drawn from: cells of documents, each arm with one look throughout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from perfkit.reporting.looks import looks_of
from perfkit.reporting.tables import date_of, machine_name
from perfkit.results.record import DOUBTFUL
from perfkit.results.store import cells_of, section, synthetic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.reporting.looks import Look


@dataclass(frozen=True)
class Drawn:
    """One cell to draw. ``shape`` is (batch, prompt length, new tokens)."""

    model: str
    arm: str
    shape: tuple[int, int, int]
    verdict: str
    body: Mapping[str, Any]
    machine: str = ""

    @property
    def has_figures(self) -> bool:
        """Whether anything of it may be drawn as a value, doubtful ones included."""
        return self.verdict == "ok" or self.doubtful

    @property
    def doubtful(self) -> bool:
        """Whether it was timed in a way that no comparison accepts."""
        return self.verdict in DOUBTFUL

    @property
    def label(self) -> str:
        """The verdict as people read it."""
        return self.verdict.replace("_", " ")

    def metric(self, name: str) -> float | None:
        """Return a metric in its own unit; None where the verdict or the record has none."""
        value = section(self.body, "metrics").get(name) if self.has_figures else None
        return None if value is None else float(value)

    @property
    def at_ceilings(self) -> float | None:
        """Return output token/s if each phase ran at the ceiling that its session measured.

        Formula: B·N / (mfu·ttft + mbu·(e2e - ttft)); None where a ceiling is missing.
        """
        batch, _, new = self.shape
        ttft, e2e = self.metric("ttft_s"), self.metric("e2e_s")
        mfu, mbu = self.metric("mfu"), self.metric("mbu")
        if ttft is None or e2e is None or mfu is None or (mbu is None and new > 1):
            return None
        floor_s = mfu * ttft + (mbu or 0.0) * (e2e - ttft)
        return batch * new / floor_s if floor_s > 0 else None

    def samples(self, name: str) -> list[float]:
        """Return all samples of a name, in seconds; lists of rounds are chained in order."""
        if not self.has_figures:
            return []
        kept = section(self.body, "samples").get(name) or []
        return [x for item in kept for x in (item if isinstance(item, list) else [item])]


@dataclass(frozen=True)
class Scene:
    """What all pictures share: cells, arms in order with their looks, and the words of titles."""

    cells: tuple[Drawn, ...]
    looks: Mapping[str, Look]
    about: str

    @cached_property
    def colours(self) -> dict[str, str]:
        """The colour of each arm, in the order of arms."""
        return {arm: look.colour for arm, look in self.looks.items()}

    @property
    def models(self) -> list[str]:
        """The models in alphabetical order."""
        return sorted({cell.model for cell in self.cells})

    def of(self, model: str) -> list[Drawn]:
        """Return a model's cells by shape, then by arm."""
        order = list(self.colours)
        mine = (cell for cell in self.cells if cell.model == model)
        return sorted(mine, key=lambda cell: (cell.shape, order.index(cell.arm)))


def set_scene(documents: Sequence[Mapping[str, Any]]) -> Scene:
    """Gather cells of all documents and give each arm a name, a colour and a line style."""
    latest = _latest(documents)
    cases = [(section(cell, "case"), machine, cell) for machine, cell in latest]
    variants = [
        tuple(f"{case.get('precision')}" for case, _, _ in cases),
        tuple(f"tp{case.get('tp', 1)}" for case, _, _ in cases),
        tuple(machine for _, machine, _ in cases),
    ]
    shown = [words for words in variants if len(set(words)) > 1]
    bases = [f"{case.get('backend')} {case.get('attention')}" for case, _, _ in cases]
    tails = [tuple(words[i] for words in shown) for i in range(len(cases))]
    cells = tuple(
        Drawn(
            str(case.get("model")),
            " ".join((base, *tail)),
            (case.get("batch") or 0, case.get("prompt_len") or 0, case.get("new_tokens") or 0),
            str(cell.get("verdict") or "unknown"),
            cell,
            machine,
        )
        for (case, machine, cell), base, tail in zip(cases, bases, tails, strict=True)
    )
    return Scene(cells, looks_of(bases, tails), _about(documents, variants[0], len(cells)))


def _latest(documents: Sequence[Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    found: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for document in sorted(documents, key=lambda d: str(d.get("datetime") or "")):
        machine = machine_name(document)
        key = str(section(document, "perfkit", "machine").get("key") or machine)
        for name, cell in cells_of(document).items():
            found[key, name] = (machine, cell)
    names = {machine for machine, _ in found.values()}
    keys = {key for key, _ in found}
    if len(names) == len(keys):
        return list(found.values())
    return [(f"{machine} ({key})", cell) for (key, _), (machine, cell) in found.items()]


def _about(documents: Sequence[Mapping[str, Any]], precisions: Iterable[str], drawn: int) -> str:
    machines = sorted({machine_name(document) for document in documents})
    # A file that nobody measured has no day of measuring.
    days = sorted({date_of(one) for one in documents if synthetic(one) is None})
    span = [f"{days[0]} to {days[-1]}"] if days[1:] else days
    older = sum(len(cells_of(document)) for document in documents) - drawn
    repeats = f"{older} older repeats left out" if older else ""
    sessions = {
        cell.get("session") for document in documents for cell in cells_of(document).values()
    }
    many = f"{len(sessions)} sessions" if len(sessions) > 1 else ""
    parts = [", ".join(machines), ", ".join(sorted(set(precisions))), *span, many, repeats]
    return "  |  ".join(part for part in parts if part)
