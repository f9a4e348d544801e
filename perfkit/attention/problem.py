"""What is computed: one attention problem, its id grammar, its FLOPs and its bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perfkit.errors import UsageError

ELEMENT_BYTES = {"bf16": 2, "fp16": 2, "fp32": 4}

_ID = re.compile(
    r"(?P<dtype>bf16|fp16|fp32)/(?P<mask>causal|full)/b(?P<batch>\d+)/h(?P<heads>\d+)"
    r"/kv(?P<kv_heads>\d+)/q(?P<q_len>\d+)/k(?P<kv_len>\d+)/d(?P<head_dim>\d+)"
)
_EXAMPLE = "bf16/causal/b8/h32/kv8/q2048/k2048/d128"


@dataclass(frozen=True)
class Problem:
    """softmax(q kᵀ · scale) v on (batch, heads, length, head_dim), as in the id's example.

    Query head ``h`` reads key head ``h // (heads / kv_heads)``. A causal query row ``i`` sees keys
    up to ``i + kv_len - q_len``: the mask is aligned at the bottom right. Raises UsageError when a
    size is not positive or ``heads`` is no multiple of ``kv_heads``.
    """

    dtype: str
    causal: bool
    batch: int
    heads: int
    kv_heads: int
    q_len: int
    kv_len: int
    head_dim: int

    def __post_init__(self) -> None:
        """Refuse what no provider could compute."""
        if self.dtype not in ELEMENT_BYTES:
            raise UsageError(f"dtype {self.dtype!r}: expected one of {', '.join(ELEMENT_BYTES)}")
        for name in ("batch", "heads", "kv_heads", "q_len", "kv_len", "head_dim"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)}: expected at least 1")
        if self.heads % self.kv_heads:
            raise UsageError(f"heads {self.heads} is no multiple of kv_heads {self.kv_heads}")

    @property
    def id(self) -> str:
        """The part of a benchmark id between provider and cache state."""
        mask = "causal" if self.causal else "full"
        return (
            f"{self.dtype}/{mask}/b{self.batch}/h{self.heads}/kv{self.kv_heads}"
            f"/q{self.q_len}/k{self.kv_len}/d{self.head_dim}"
        )

    @classmethod
    def parse(cls, text: str) -> Problem:
        """Read an id back. Raises UsageError when it does not follow the grammar."""
        match = _ID.fullmatch(text)
        if match is None:
            raise UsageError(f"not an attention problem: {text!r}; expected the form {_EXAMPLE}")
        fields = match.groupdict()
        sizes = {key: int(fields[key]) for key in fields if key not in ("dtype", "mask")}
        return cls(dtype=fields["dtype"], causal=fields["mask"] == "causal", **sizes)

    @property
    def is_decode(self) -> bool:
        """One new token a sequence: bound by reading K and V."""
        return self.q_len == 1

    @property
    def flops(self) -> float:
        """Formula: 4 · batch · heads · q_len · kv_len · head_dim, half of it for causal prefill.

        Two products, a multiply and an add each; masked work and the softmax are not counted. With
        q_len ≠ kv_len a causal mask leaves more than half, so the visible pairs are counted.
        """
        pairs: float = self.q_len * self.kv_len
        if self.causal and self.q_len == self.kv_len:
            pairs /= 2
        elif self.causal:
            pairs = self._visible_pairs()
        return 4.0 * self.batch * self.heads * self.head_dim * pairs

    def _visible_pairs(self) -> int:
        first = self.kv_len - self.q_len + 1
        rows = min(self.q_len, self.kv_len)  # rows above see no key
        least = max(first, 1)
        return rows * (least + self.kv_len) // 2

    @property
    def kv_bytes(self) -> int:
        """Formula: 2 · batch · kv_heads · kv_len · head_dim · element size: K and V, read once."""
        elements = 2 * self.batch * self.kv_heads * self.kv_len * self.head_dim
        return elements * ELEMENT_BYTES[self.dtype]
