"""An engine config: what ``perfkit build-engine`` reads, and what a cell's engine is built from."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from perfkit.architectures import ARCHITECTURES
from perfkit.cases import LOCAL
from perfkit.errors import UsageError, in_one_line, unknown

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.cases import Case

# What a forward pass takes at most where a prompt needs no more: TensorRT-LLM's own default.
_NUM_TOKENS = 8192
PRECISIONS = ("fp32", "fp16", "bf16", "fp8")
_LAYOUT = 1  # of the cache: a new one leaves old engines alone


class EngineConfig(BaseModel):
    """The whole of an engine: model, arithmetic, attention, parallelism, sizes.

    All sizes are always set, in tokens, since Python's defaults and trtllm-build's differ. The off
    arm (``fmha`` false) may have no paged and no FP8 context FMHA, which stand on it; the shipped
    on arms leave both off too, so that the arms differ in one thing. ``weights``: ``seeded``
    (perfkit's own random ones, as the PyTorch arms have them), ``dummy`` (TensorRT-LLM's, from the
    architecture alone: no outputs to compare), ``checkpoint`` (a Hugging Face folder).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str
    precision: str
    fmha: bool
    tp: int = Field(default=1, ge=1)
    max_batch_size: int = Field(ge=1)
    max_input_len: int = Field(ge=1)
    max_seq_len: int = Field(ge=2)
    max_num_tokens: int = Field(ge=1)
    paged_context_fmha: bool = False
    fp8_context_fmha: bool = False
    weights: Literal["seeded", "dummy", "checkpoint"] = "seeded"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.weights == "checkpoint" and not self.model.startswith(LOCAL):
            raise ValueError(f"weights 'checkpoint' needs a model {LOCAL}NAME, got {self.model!r}")
        if self.weights != "checkpoint" and self.model not in ARCHITECTURES:
            raise ValueError(unknown("model", self.model, ARCHITECTURES))
        if self.precision not in PRECISIONS:
            raise ValueError(unknown("precision", self.precision, PRECISIONS))
        if self.precision == "fp8" and self.weights != "dummy":
            raise ValueError("fp8 from full weights needs a calibration: use weights 'dummy'")
        if self.fp8_context_fmha and self.precision != "fp8":
            raise ValueError(f"fp8_context_fmha needs precision fp8, got {self.precision}")
        if self.precision == "fp8" and self.paged_context_fmha and not self.fp8_context_fmha:
            raise ValueError("an fp8 cache with paged_context_fmha needs fp8_context_fmha too")
        if not self.fmha and (self.paged_context_fmha or self.fp8_context_fmha):
            raise ValueError("fmha false needs paged_context_fmha and fp8_context_fmha false")
        if self.max_num_tokens < self.max_input_len:
            raise ValueError(
                f"max_num_tokens {self.max_num_tokens} is under max_input_len "
                f"{self.max_input_len}: a prompt would be cut into chunks, which fmha alone can do"
            )
        if self.max_seq_len <= self.max_input_len:
            raise ValueError(
                f"max_seq_len {self.max_seq_len} leaves no new token after max_input_len "
                f"{self.max_input_len}"
            )
        return self

    @classmethod
    def read(cls, path: Path) -> EngineConfig:
        """Read a JSON file. Raises UsageError naming the file and the nearest known key."""
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is not JSON: {error}") from None
        if not isinstance(table, dict):
            raise UsageError(f"{path}: expected an object of {', '.join(cls.model_fields)}")
        for key in table:
            if key not in cls.model_fields:
                raise UsageError(f"{path}: {unknown('key', key, cls.model_fields)}")
        try:
            return cls(**table)
        except ValidationError as error:
            raise UsageError(f"{path}: {in_one_line(error, cls.model_fields)}") from None

    def fits(self, case: Case) -> bool:
        """Whether an engine of this config can run the case, and is of its model and kind."""
        return (
            (self.model, self.precision, self.fmha, self.tp)
            == (case.model, case.precision, case.fused, case.tp)
            and case.batch <= self.max_batch_size
            and case.prompt_len <= self.max_input_len
            and case.prompt_len + case.new_tokens <= self.max_seq_len
        )

    def key(self, version: str, gpu: str, capability: tuple[int, int], model: str) -> str:
        """Return a folder's name for engines built so: a short word and a digest of everything.

        ``model`` says which weights (a checkpoint's own digest).
        """
        parts = [_LAYOUT, version, gpu, list(capability), model, self.model_dump()]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
        arm = "fmha" if self.fmha else "nofmha"
        name = self.model.replace(":", "-")
        return f"{name}-{self.precision}-{arm}-tp{self.tp}-{digest}"


def for_case(case: Case) -> EngineConfig:
    """Return a config made for the case alone, with its own sizes."""
    weights: Literal["seeded", "dummy", "checkpoint"] = "seeded"
    if case.model not in ARCHITECTURES:
        weights = "checkpoint"
    elif case.precision == "fp8":
        weights = "dummy"
    return EngineConfig(
        model=case.model,
        precision=case.precision,
        fmha=case.fused,
        tp=case.tp,
        max_batch_size=case.batch,
        max_input_len=case.prompt_len,
        max_seq_len=case.prompt_len + case.new_tokens,
        max_num_tokens=max(_NUM_TOKENS, case.prompt_len + case.new_tokens),
        weights=weights,
    )
