"""Every named model at small width: its ratios of heads, its rope and its norm, two layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from perfkit.architectures import ARCHITECTURES, Architecture
from perfkit.inputs import models

if TYPE_CHECKING:
    from perfkit.inputs.models import ModelSource

# Query and key heads: as many a key head as the model has (40 of llama2-13b are no power of two).
HEADS = {
    "llama-tiny": (4, 2), "llama-mini": (4, 2), "tinyllama-1.1b": (8, 1), "llama2-7b": (4, 4),
    "llama2-13b": (5, 5), "llama3-8b": (8, 2),
}  # fmt: skip


def architecture(name: str) -> Architecture:
    heads, kv_heads = HEADS[name]
    return replace(
        ARCHITECTURES[name], hidden=16 * heads, intermediate=72, layers=2, heads=heads,
        kv_heads=kv_heads, vocab=210,
    )  # fmt: skip


def source(name: str) -> ModelSource:
    return replace(models.find(name), arch=architecture(name))
