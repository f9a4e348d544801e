"""What a backend is: a module with these functions; and an engine, which generates and forgets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    import torch

    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource
    from perfkit.machine.clocks import RoundClock


class Apart(Protocol):
    """What an engine in a process of its own must tell, since nobody else can see it there."""

    @property
    def clock(self) -> RoundClock:
        """Reads the times that the process took itself."""
        ...

    def attention(self) -> dict[str, Any]:
        """Return requested against actual attention, as ``kernels.describe`` does.

        Raises ApartError where what ran is not what was asked for.
        """
        ...

    def memory(self) -> dict[str, object]:
        """Return what the process says of its memory, in bytes; a text says why one is missing."""
        ...


class ApartError(Exception):
    """An engine's process failed; ``verdict`` is the cell's."""

    def __init__(self, verdict: str, reason: str) -> None:
        """Keep both; ``reason`` is one line."""
        super().__init__(reason)
        self.verdict = verdict


class Engine(Protocol):
    """A case made ready to run."""

    @property
    def apart(self) -> Apart | None:
        """None where the engine runs in this process."""
        ...

    @property
    def notes(self) -> Mapping[str, object]:
        """What a reader of the result must know: cache, compilation, fallbacks and why."""
        ...

    def generate(
        self, ids: torch.Tensor, new_tokens: int, stamp: Callable[[], None]
    ) -> torch.Tensor:
        """Decode greedily.

        ``ids`` is (B, P) int64; returns (B, new_tokens) int64, the new tokens alone, where
        new_tokens is at most the case's. Calls ``stamp`` once as each token has been enqueued,
        never waiting for the device itself.
        """
        ...

    def forced_logits(self, ids: torch.Tensor, forced: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield (B, V) logits after the prompt and after each forced token.

        ``ids`` is (B, P), ``forced`` (B, K); yields K + 1 tensors, through the same code that
        ``generate`` runs.
        """
        ...

    def release(self) -> None:
        """Give back everything that is this engine's own: caches, graphs, compiled code."""
        ...


@dataclass(frozen=True)
class Loaded:
    """What is costly to make and can serve several cases: weights on a device, or in a folder."""

    model: Any
    device: str


class Backend(Protocol):
    """A module with these functions; it knows nothing of rounds, statistics or files."""

    def unsupported(self, case: Case, device: str) -> str | None:
        """Return why this case cannot run on ``device`` ("cpu" or "cuda"), or None."""
        ...

    def uncheckable(self, case: Case, source: ModelSource) -> str | None:
        """Return why no outputs of this case can be compared, or None."""
        ...

    def before_rounds_s(self) -> float:
        """Return how long a case may take to start, beyond what imports and compiling do, in s."""
        ...

    def load_key(self, case: Case) -> Hashable:
        """Return what two cases must share to share one loaded model."""
        ...

    def load(self, case: Case, source: ModelSource, device: str) -> Loaded:
        """Make or read the weights."""
        ...

    def build(self, loaded: Loaded, case: Case) -> Engine:
        """Make the engine; compilation may wait for its first run."""
        ...
