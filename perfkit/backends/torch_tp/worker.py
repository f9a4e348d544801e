"""One rank: ``python -m perfkit.backends.torch_tp.worker cpu``, as torchrun starts it.

The first rank answers perfkit, and hands each call on to the others; all do the same, since each
layer needs the parts of all.
"""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perfkit.backends.apart.serving import serve
from perfkit.backends.engine import Loaded
from perfkit.backends.torch_common import prepare
from perfkit.backends.torch_eager import EagerEngine
from perfkit.backends.torch_tp.launch import AGENT, rendezvous
from perfkit.inputs import models
from perfkit.machine.clocks import round_clock
from perfkit.machine.kernels import profile
from perfkit.machine.processes import end_with_parent

if TYPE_CHECKING:
    import torch

    from perfkit.backends.apart.serving import Answer

Arrays = dict[str, np.ndarray]
# The process at the other end keeps the limits, and ends all ranks at once.
_NO_LIMIT = timedelta(days=30)
_STOP = "stop"
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class Rank:
    """One process's part of a model, and the calls that all ranks make together."""

    def __init__(self, device: str) -> None:
        """Hold nothing yet; ``device`` is "cpu" or "cuda"."""
        self.failed = False
        self._device = device
        self._engine: EagerEngine | None = None
        self._last: torch.Tensor | None = None
        self._weights_bytes = 0

    def __call__(self, name: str, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Answer a call, as the first rank does."""
        try:
            handed_on((name, header, arrays))
            return self.do(name, header, arrays)
        except Exception as error:
            self.failed = True
            if _lost_another(error):
                # torchrun tells which and how; this end tells nothing but that.
                traceback.print_exc()
                os._exit(1)
            raise

    def follow(self) -> None:
        """Do what the first rank does until it stops."""
        while True:
            name, header, arrays = handed_on(None)
            if name == _STOP:
                return
            self.do(name, header, arrays)

    def do(self, name: str, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Do a call by its name."""
        calls = {
            "load": self._load,
            "generate": self._generate,
            "logits": self._logits,
            "kernels": self._kernels,
            "state": self._state,
        }
        return calls[name](header, arrays)

    def _load(self, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Make this rank's part of ``model``, or of the folder ``path``."""
        del arrays
        path = header["path"]
        found = (
            models.local(Path(path)) if path else models.find(header["model"], {}, header["seed"])
        )
        model = models.sharded(found, header["precision"], self._device, header["tp"])
        self._engine = EagerEngine(Loaded(model, self._device), header["attention"], {})
        if self._device == "cuda":
            import torch

            self._weights_bytes = torch.cuda.memory_allocated()
        return {}, {}

    def _generate(self, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Decode ``ids`` (B, P): ``tokens`` (B, N), and ``tokens_s`` (N,) by this rank's clock."""
        ids, new_tokens = self._ids(arrays["ids"]), header["new_tokens"]
        self._last = ids
        clock = round_clock(self._device, new_tokens)
        self._together()
        start = time.perf_counter()
        clock.submit()
        tokens = self._ready().generate(ids, new_tokens, clock.stamp)
        trace = clock.finish().trace
        host_s = time.perf_counter() - start
        return {"times": self._times(), "host_s": host_s}, {
            "tokens": tokens.cpu().numpy(),
            "tokens_s": np.array(trace.tokens_s, dtype=np.float64),
        }

    def _logits(self, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Return the logits after the prompt and each forced token, (K + 1, B, V) fp32."""
        del header
        ids, forced = self._ids(arrays["ids"]), self._ids(arrays["forced"])
        steps = [step.float().cpu().numpy() for step in self._ready().forced_logits(ids, forced)]
        return {}, {"logits": np.stack(steps)}

    def _kernels(self, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Return what ran on the first rank in a prefill, and in a prefill and one step.

        The prompts are those of the last generation; ``new_tokens`` is 1 where there is no step.
        """
        del arrays
        assert self._last is not None  # noqa: S101  (a cell's first run comes before its profile)
        counts = []
        for tokens in (1, header["new_tokens"]):
            run = partial(self._ready().generate, self._last, tokens, _no_stamp)
            if rank() == 0:
                counts.append(profile(run, self._device))
            else:
                run()
        return {"counts": counts}, {}

    def _state(self, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Return the bytes that all ranks hold together; the peaks are of the last generation."""
        del header, arrays
        import torch

        if self._device == "cpu":
            # Each rank's own, since it began: a CPU's memory is counted by nobody else.
            mine = {
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
            }
        else:
            mine = {
                "weights_bytes": self._weights_bytes,
                "peak_allocated_bytes": torch.cuda.max_memory_allocated(),
                "peak_reserved_bytes": torch.cuda.max_memory_reserved(),
            }
        total = torch.tensor(list(mine.values()), dtype=torch.int64)
        torch.distributed.all_reduce(total)
        return dict(zip(mine, total.tolist(), strict=True)), {}

    def _ready(self) -> EagerEngine:
        if self._engine is None:
            raise RuntimeError("no model is loaded: call load first")
        return self._engine

    def _ids(self, rows: np.ndarray) -> torch.Tensor:
        import torch

        return torch.from_numpy(rows.copy()).to(self._device)

    def _together(self) -> None:
        """Wait until all ranks are here and their devices idle."""
        import torch

        if self._device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        torch.distributed.barrier()
        if self._device == "cuda":
            torch.cuda.synchronize()

    def _times(self) -> str:
        if self._device == "cuda":
            return "CUDA events of rank 0, all ranks idle at submission"
        return (
            f"rank 0's own clock; {size()} processes share this host's cores: its times say "
            "nothing about tensor parallelism"
        )


def rank() -> int:
    """Return this process's place among the ranks, as torchrun tells it."""
    return int(os.environ["RANK"])


def size() -> int:
    """Return how many ranks there are."""
    return int(os.environ["WORLD_SIZE"])


def handed_on(
    call: tuple[str, dict[str, Any], Arrays] | None,
) -> tuple[str, dict[str, Any], Arrays]:
    """Give the first rank's call to all; the others pass None and wait for it."""
    import torch

    held: list[Any] = [call]
    torch.distributed.broadcast_object_list(held, src=0, device=torch.device("cpu"))
    told: tuple[str, dict[str, Any], Arrays] = held[0]
    return told


def join(device: str) -> None:
    """Join the other ranks: by NCCL with a GPU each, calls and CPU work by gloo."""
    import torch
    from torch import distributed

    mine = None
    if device == "cuda":
        mine = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(mine)
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        store=distributed.FileStore(str(rendezvous("ranks")), size()),  # type: ignore[attr-defined]
        rank=rank(),
        world_size=size(),
        timeout=_NO_LIMIT,
        device_id=mine,
    )


def main(device: str) -> None:
    """Join the others, then answer or follow until told to stop."""
    end_with_parent()
    if os.getppid() != int(os.environ[AGENT]):
        raise SystemExit("torchrun has ended before this rank began")
    import torch

    join(device)
    prepare(device)
    worker = Rank(device)
    if rank() != 0:
        worker.follow()
    else:
        serve(worker)
        if worker.failed:
            # The others may wait for what never comes: torchrun ends them with this one.
            os._exit(1)
        handed_on((_STOP, {}, {}))
    torch.distributed.destroy_process_group()


def _lost_another(error: Exception) -> bool:
    from torch.distributed import DistError

    return isinstance(error, DistError) or " by peer" in str(error)


def _no_stamp() -> None:
    """Take no stamp."""


if __name__ == "__main__":
    main(*sys.argv[1:])
