"""torch-eager: transformers' own generate with a dynamic cache, what most people run.

On several devices it is the same engine, one rank a process (``torch_tp``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.backends import torch_common
from perfkit.backends.torch_common import before_rounds_s, implementation, load_key, uncheckable
from perfkit.backends.torch_tp import driving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch

    from perfkit.backends.engine import Engine, Loaded
    from perfkit.cases import Case
    from perfkit.inputs.models import ModelSource

__all__ = [
    "EagerEngine",
    "before_rounds_s",
    "build",
    "load",
    "load_key",
    "uncheckable",
    "unsupported",
]


def unsupported(case: Case, device: str) -> str | None:
    """Return why the case cannot run on ``device``, or on as many as it asks for, or None."""
    refused = driving.refused(case, device) if case.tp > 1 else None
    return refused or torch_common.unsupported(case, device)


def load(case: Case, source: ModelSource, device: str) -> Loaded:
    """Build the model on the device; the ranks of several devices build their own parts."""
    if case.tp > 1:
        return driving.named(case, source, device)
    return torch_common.load(case, source, device)


def build(loaded: Loaded, case: Case) -> Engine:
    """Point the model at the case's attention, or start the ranks; nothing is compiled."""
    if case.tp > 1:
        return driving.opened(loaded, case)
    attention, said = implementation(case)
    return EagerEngine(loaded, attention, said)


class EagerEngine:
    """One call of ``generate`` a round; each token is stamped by a stopping criterion."""

    apart = None

    def __init__(self, loaded: Loaded, attention: str, said: Mapping[str, str]) -> None:
        """Keep the model; ``attention`` is transformers' name of it, ``said`` goes to the notes."""
        self._model = loaded.model
        self._model.set_attn_implementation(attention)
        self.notes: Mapping[str, object] = {"cache": "dynamic", "compiled": False, **said}

    def generate(
        self, ids: torch.Tensor, new_tokens: int, stamp: Callable[[], None]
    ) -> torch.Tensor:
        """Decode greedily; see Engine."""
        import torch

        going_on = torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)

        def stamped(*_: Any, **__: Any) -> torch.Tensor:
            stamp()
            return going_on

        with torch.inference_mode():
            output = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=new_tokens,
                stopping_criteria=[stamped],
                disable_compile=True,
            )
        tokens: torch.Tensor = output[:, ids.shape[1] :]
        return tokens

    def forced_logits(self, ids: torch.Tensor, forced: torch.Tensor) -> Iterator[torch.Tensor]:
        """Run prompt, then forced tokens one by one, over a dynamic cache; see Engine."""
        import torch
        from transformers import DynamicCache

        with torch.inference_mode():
            cache = DynamicCache(config=self._model.config)
            step = ids
            for k in range(forced.shape[1] + 1):
                out = self._model(
                    input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1
                )
                yield out.logits[:, -1]
                step = forced[:, k : k + 1]

    def release(self) -> None:
        """Hold nothing of its own; see Engine."""
