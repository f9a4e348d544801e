"""The file of a validation: what was asked, on which machine, and every request's times."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

from perfkit.batching.policies import Dynamic, OneByOne, Static
from perfkit.batching.server.batcher import Answer
from perfkit.cases import Case
from perfkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from perfkit.batching.policies import Policy

SCHEMA = 1
Document = dict[str, Any]
_POLICIES: dict[str, type[Static | Dynamic | OneByOne]] = {
    "static": Static,
    "dynamic": Dynamic,
    "one-by-one": OneByOne,
}


@dataclass(frozen=True)
class Setup:
    """What is measured: ``case`` at its largest batch, ``requests`` a load, from ``seed``.

    ``fit_rounds``: how often the calibration of each load runs each batch size.
    """

    case: Case
    policy: Policy
    requests: int
    fit_rounds: int
    seed: int
    device: str

    def to_json(self) -> Document:
        """Return plain values."""
        kind = next(name for name, made in _POLICIES.items() if isinstance(self.policy, made))
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        policy = json.loads(json.dumps(asdict(self.policy)))
        return {**told, "case": self.case.id, "policy": {"kind": kind, **policy}}

    @classmethod
    def from_json(cls, told: Document) -> Setup:
        """Read what ``to_json`` gave; what is missing or wrong raises as it may."""
        policy = dict(told["policy"])
        kind = _POLICIES[policy.pop("kind")]
        if "preferred" in policy:
            policy["preferred"] = tuple(policy["preferred"])
        return cls(**{**told, "case": Case.parse(told["case"]), "policy": kind(**policy)})


def rows(answers: Sequence[Answer]) -> Document:
    """Return answers as columns, times to 0.1 us; null for a time that there is none of."""
    names = [one.name for one in fields(Answer)]
    columns = zip(*map(astuple, answers), strict=True)
    return {
        name: [_plain(value) for value in column]
        for name, column in zip(names, columns, strict=True)
    }


def _plain(value: object) -> object:
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 7)


def answers(columns: Document) -> list[Answer]:
    """Read what ``rows`` gave."""
    names = [one.name for one in fields(Answer)]
    return [
        Answer(*(math.nan if one is None else one for one in row))  # type: ignore[arg-type]
        for row in zip(*(columns[name] for name in names), strict=True)
    ]


def read(path: Path) -> tuple[Document, Setup]:
    """Read a validation's file. Raises UsageError naming it and what is wrong with it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        schema = document["perfkit_batching_validation"]
        setup = Setup.from_json(document["setup"])
        for one in document["loads"]:
            answers(one["rows"])
            answers(one["calibration"])
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no file of perfkit batching validate: {error!r}") from None
    if schema != SCHEMA:
        raise UsageError(f"{path} has schema {schema!r}, expected {SCHEMA}")
    return document, setup
