"""torchrun for the ranks of one engine: ``python -m perfkit.backends.torch_tp.launch cpu 2``.

Its own rendezvous would listen on all interfaces, whatever address it is given; files in the
folder of the engine's process serve one host as well.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from perfkit.backends.apart.serving import SOCKET

AGENT = "PERFKIT_TP_AGENT"
_LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


def command(device: str, tp: int) -> list[str]:
    """Return the command of a torchrun with ``tp`` ranks on "cpu" or "cuda"."""
    return [sys.executable, "-m", "perfkit.backends.torch_tp.launch", device, str(tp)]


def environment(device: str, threads: int) -> dict[str, str]:
    """Return what is added to the ranks' environment; each has ``threads`` for a CPU's work."""
    made = {
        "GLOO_SOCKET_IFNAME": _LOOPBACK,
        "NCCL_SOCKET_IFNAME": _LOOPBACK,
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
        # Else the agent offers the ranks a store that listens on all interfaces.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    # transformers shards over the accelerator where it sees one.
    return made | ({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})


def rendezvous(name: str) -> Path:
    """Return a file of the engine's process by which processes find each other."""
    return Path(os.environ[SOCKET]).with_name(name)


def main(device: str, tp: str) -> None:
    """Run the ranks to their end; whatever ends one of them ends all."""
    from torch.distributed.run import main as torchrun

    os.environ[AGENT] = str(os.getpid())
    torchrun([
        "--nnodes=1", f"--nproc-per-node={tp}", "--max-restarts=0",
        "--rdzv-backend=c10d", "--rdzv-conf=store_type=file",
        f"--rdzv-endpoint={rendezvous('agent')}",
        f"--log-dir={os.devnull}",
        "-m", "perfkit.backends.torch_tp.worker", device,
    ])  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
