"""What to measure: one Case, its id grammar, and matrices of cases."""

from __future__ import annotations

import fnmatch
import itertools
import re
import tomllib
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from perfkit.architectures import ARCHITECTURES
from perfkit.errors import UsageError, in_one_line, unknown
from perfkit.precisions import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

# The registry: a backend's name and the module that is it. Adding one is that file and this line.
BACKENDS: dict[str, str] = {
    "torch-eager": "perfkit.backends.torch_eager",
    "torch-compile": "perfkit.backends.torch_compile",
    "torch-triton": "perfkit.backends.torch_triton",
    "trtllm-engine": "perfkit.backends.trtllm_engine",
    "trtllm-pytorch": "perfkit.backends.trtllm_pytorch",
}
LOCAL = "local:"

_ATTENTION = re.compile(r"nofmha|fmha(=[a-z0-9][a-z0-9-]*)?")
_MODEL = re.compile(r"(local:)?[A-Za-z0-9][A-Za-z0-9._-]*")
_ID = re.compile(
    r"(?P<backend>[^/]+)/(?P<model>[^/]+)/(?P<precision>[^/]+)/(?P<attention>[^/]+)"
    r"/b(?P<batch>\d+)/p(?P<prompt_len>\d+)/n(?P<new_tokens>\d+)/tp(?P<tp>\d+)"
)
_COUNTS = {"batch", "prompt_len", "new_tokens", "tp"}
_EXAMPLE = "torch-compile/llama2-7b/bf16/fmha/b8/p512/n128/tp1"


class Case(BaseModel):
    """One thing to measure, as in ``torch-compile/llama2-7b/bf16/fmha/b8/p512/n128/tp1``.

    ``attention`` is ``nofmha`` (scores materialised), ``fmha`` (the backend's default fused
    attention) or ``fmha=PROVIDER``. ``prompt_len`` and ``new_tokens`` count tokens per sequence.
    Raises pydantic's ValidationError when a field is unknown or out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    model: str
    precision: str
    attention: str = "fmha"
    batch: int = Field(ge=1, strict=True)
    prompt_len: int = Field(ge=1, strict=True)
    new_tokens: int = Field(ge=1, strict=True)
    tp: int = Field(default=1, ge=1, strict=True)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.backend not in BACKENDS:
            raise ValueError(unknown("backend", self.backend, BACKENDS))
        if self.precision not in PRECISIONS:
            raise ValueError(unknown("precision", self.precision, PRECISIONS))
        if not _ATTENTION.fullmatch(self.attention):
            raise ValueError(
                f"unknown attention {self.attention!r}: expected nofmha, fmha or fmha=PROVIDER"
            )
        if not _MODEL.fullmatch(self.model):
            raise ValueError(f"model {self.model!r} holds characters outside [A-Za-z0-9._-]")
        if self.model.startswith(LOCAL):
            return self
        if self.model not in ARCHITECTURES:
            raise ValueError(unknown("model", self.model, ARCHITECTURES))
        check_positions(self, ARCHITECTURES[self.model].positions)
        return self

    @property
    def id(self) -> str:
        """The pytest id and JSON key."""
        return (
            f"{self.backend}/{self.model}/{self.precision}/{self.attention}"
            f"/b{self.batch}/p{self.prompt_len}/n{self.new_tokens}/tp{self.tp}"
        )

    @property
    def fused(self) -> bool:
        """Whether fused attention is asked for."""
        return self.attention != "nofmha"

    @property
    def provider(self) -> str | None:
        """The attention provider asked for by name, if any."""
        _, _, name = self.attention.partition("=")
        return name or None

    def but(self, **changes: Any) -> Case:
        """Return this case with some fields changed, validated anew."""
        return Case(**{**self.model_dump(), **changes})

    @classmethod
    def parse(cls, text: str) -> Case:
        """Read an id back. Raises UsageError when it does not follow the grammar."""
        match = _ID.fullmatch(text)
        if match is None:
            raise UsageError(f"not a case id: {text!r}; expected the form {_EXAMPLE}")
        fields = {
            name: int(part) if name in _COUNTS else part for name, part in match.groupdict().items()
        }
        return make_case(fields, text)


def check_positions(case: Case, positions: int) -> None:
    """Raise ValueError when prompt and new tokens exceed what the model was made for."""
    total = case.prompt_len + case.new_tokens
    if total > positions:
        raise ValueError(
            f"prompt_len {case.prompt_len} + new_tokens {case.new_tokens} = {total} is over "
            f"the {positions} positions of {case.model}: shorten one of them"
        )


def make_case(fields: dict[str, Any], where: str) -> Case:
    """Make a Case; what is wrong becomes one line that begins with ``where``."""
    try:
        return Case(**fields)
    except ValidationError as error:
        raise UsageError(f"{where}: {in_one_line(error, Case.model_fields)}") from None


def wanted(case_id: str, patterns: Iterable[str]) -> bool:
    """Return whether an id holds one of these texts, in which * and ? stand for anything.

    Without any pattern every id is wanted.
    """
    given = tuple(patterns)
    return not given or any(fnmatch.fnmatchcase(case_id, f"*{text}*") for text in given)


def reference_of(case: Case) -> Case:
    """Return the arm that others are compared with: eager, scores materialised, fp32.

    Its weights are the case's own: of weight-only quantisation the quantised ones.
    """
    precision = PRECISIONS[case.precision].reference
    return case.but(backend="torch-eager", precision=precision, attention="nofmha", tp=1)


class Matrix(BaseModel):
    """Cells to measure: the product of ``axes``, less ``exclude``, plus ``include``.

    Includes come first in order, since they are what somebody singled out. An exclude rule
    removes every cell of the product that has all of its values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["cpu", "gpu"]
    description: str = ""
    min_mem_gib: float = 0.0
    axes: dict[str, list[Any]] = {}
    include: list[dict[str, Any]] = []
    exclude: list[dict[str, Any]] = []

    @classmethod
    def parse(cls, text: str, where: str) -> Matrix:
        """Read TOML. Raises UsageError naming the file and the nearest known key."""
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{where}: not TOML: {error}") from None
        for key in table:
            if key not in cls.model_fields:
                raise UsageError(f"{where}: {unknown('key', key, cls.model_fields)}")
        try:
            return cls(**table)
        except ValidationError as error:
            raise UsageError(f"{where}: {in_one_line(error, Case.model_fields)}") from None

    def cases(self, where: str = "matrix") -> tuple[Case, ...]:
        """Expand to cases, each once. Raises UsageError when a rule or a cell is wrong."""
        for table in (self.axes, *self.include, *self.exclude):
            for key in table:
                if key not in Case.model_fields:
                    raise UsageError(f"{where}: {unknown('axis', key, Case.model_fields)}")
        product = _product(self.axes) if self.axes else []
        kept = [cell for cell in product if not any(_matches(cell, rule) for rule in self.exclude)]
        singled = [cell for rule in self.include for cell in _product(rule)]
        cases = dict.fromkeys(make_case(cell, where) for cell in (*singled, *kept))
        if not cases:
            raise UsageError(f"{where}: no cell is left: give [axes] or [[include]]")
        return tuple(cases)


def _product(axes: dict[str, Any]) -> list[dict[str, Any]]:
    values = [value if isinstance(value, list) else [value] for value in axes.values()]
    return [dict(zip(axes, cell, strict=True)) for cell in itertools.product(*values)]


def _matches(cell: dict[str, Any], rule: dict[str, Any]) -> bool:
    return all(
        cell.get(key) in (value if isinstance(value, list) else [value])
        for key, value in rule.items()
    )
