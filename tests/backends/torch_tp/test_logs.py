from __future__ import annotations

import pytest

from perfkit.backends.torch_tp.logs import failure

# As torch 2.13 printed them.
TORCHRUN = """\
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:\x20
======================================================
perfkit.backends.torch_tp.worker FAILED
------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-25_17:12:20
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : {first} (pid: 2694)  (SIGTERM)
  error_file: <N/A>
  traceback : Signal 15 (SIGTERM) received by PID 2694
------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-25_17:12:20
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : {second} (pid: 2696)
======================================================
"""
RAISED = """\
[rank1]: Traceback (most recent call last):
[rank1]:   File "worker.py", line 11, in <module>
[rank1]: ValueError: what
[rank1]: more
"""
LOST = "[rank0]: RuntimeError: [/gloo/transport/tcp/pair.cc:547] Connection closed by peer\n"


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", None),
        ("Loading weights: 100%\n", None),
        (TORCHRUN.format(first=-15, second=-9), "rank 1 ended with signal SIGKILL"),
        (LOST + TORCHRUN.format(first=1, second=-9), "rank 1 ended with signal SIGKILL"),
        (RAISED + TORCHRUN.format(first=-15, second=1), "rank 1: ValueError: what"),
        (TORCHRUN.format(first=-15, second=3), "rank 1 ended with exit code 3"),
        ("ImportError: gloo\n" + TORCHRUN.format(first=-15, second=1), "rank ?: ImportError: gloo"),
        (
            LOST + "[rank1]: torch.OutOfMemoryError: CUDA out of memory.\n"
            + TORCHRUN.format(first=1, second=1),
            "rank 1: torch.OutOfMemoryError: CUDA out of memory.",
        ),
    ],
)  # fmt: skip
def test_the_rank_that_failed_first_is_named(log: str, words: str | None) -> None:
    assert failure(log) == words
