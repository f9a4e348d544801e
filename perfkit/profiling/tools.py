"""The commands of NVIDIA's profilers: what they look at, and how much."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

# ncu replays a kernel for each group of counters, so not all of them: of a model of 32 layers a
# prefill's, and the first of a step's.
LAUNCHES = 48
# As std::regex has it, without a flag for the case of letters.
_ATTENTION = (
    "regex:[Ff]mha|[Ff]lash|[Aa]ttention|attn|sdpa|xqa|mmha|kernel_mha|KVCacheKernel|[Ss]oft[Mm]ax"
    "|decode_forward|portable_forward|_fwd_(grouped_)?kernel"
)
_SECTIONS = (
    "SpeedOfLight",
    "ComputeWorkloadAnalysis",
    "MemoryWorkloadAnalysis",
    "Occupancy",
    "LaunchStats",
)


def nsys(report: Path) -> list[str]:
    """Return the command that profiles what follows it, where it asks to be, into ``report``."""
    return [
        "nsys", "profile", "--trace=cuda,nvtx", "--sample=none", "--cpuctxsw=none",
        "--capture-range=cudaProfilerApi", "--capture-range-end=stop", "--cuda-graph-trace=node",
        "--force-overwrite=true", f"--output={report.with_suffix('')}",
    ]  # fmt: skip


def ncu(log: Path) -> list[str]:
    """Return the command that counts in the attention kernels of what follows it, as CSV."""
    return [
        "ncu", "--csv", "--page=raw", f"--log-file={log}", "--clock-control=none",
        "--profile-from-start=off", "--kernel-name-base=demangled", f"--kernel-name={_ATTENTION}",
        f"--launch-count={LAUNCHES}",
        *(f"--section={name}" for name in _SECTIONS),
    ]  # fmt: skip


def complaints(log: Path) -> str:
    """Return what ncu itself said in a log, which is where it says it, in one line."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said = [line for line in lines if line.startswith(("==ERROR==", "==WARNING=="))]
    return " ".join(dict.fromkeys(said))


def check(tool: str, device: str, again: str) -> None:
    """Raise UsageError, with what to type elsewhere, where a tool cannot look at anything here."""
    missing = shutil.which(tool) is None
    if device == "cpu" or missing:
        why = "looks at GPUs, and this is a CPU" if device == "cpu" else "is not on the PATH"
        raise UsageError(f"{tool} {why}; on a GPU machine that has it: {again}")
