"""Precisions: what numbers a model is held in, and what it computes with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Precision:
    """``compute`` is the type of activations, embedding, head and norms: fp32, fp16 or bf16.

    ``products`` is what is multiplied: ``compute``, but for fp8. ``weights`` is the type of the
    layers' matrices where they are kept in another one: int8 or fp8, with an fp32 scale for each
    row, and widened to ``compute`` when they are multiplied. The rest are bytes of an element.
    """

    compute: str
    products: str
    weights: str | None
    matrix_bytes: int
    other_bytes: int
    cache_bytes: int

    @property
    def reference(self) -> str:
        """The precision that computes in fp32 with the same weights: what others are held to."""
        return "fp32" if self.weights is None else f"fp32-{self.weights}"


def _plain(name: str, size: int) -> Precision:
    return Precision(name, name, None, size, size, size)


def _weight_only(compute: str, weights: str, size: int) -> Precision:
    return Precision(compute, compute, weights, 1, size, size)


# fp8 is TensorRT-LLM's, whose products and cache are fp8 too; its reference holds full weights.
PRECISIONS: dict[str, Precision] = {
    "fp32": _plain("fp32", 4),
    "fp16": _plain("fp16", 2),
    "bf16": _plain("bf16", 2),
    "bf16-int8": _weight_only("bf16", "int8", 2),
    "bf16-fp8": _weight_only("bf16", "fp8", 2),
    "fp32-int8": _weight_only("fp32", "int8", 4),
    "fp32-fp8": _weight_only("fp32", "fp8", 4),
    "fp8": Precision("bf16", "fp8", None, 1, 2, 1),
}
SCALE_BYTES = 4
