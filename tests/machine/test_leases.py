from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from perfkit.machine.leases import leased

GPUS = ("GPU-a", "GPU-b", "GPU-c")
ROOT = Path(__file__).resolve().parents[2]
HOLD = (
    "import sys, time; from pathlib import Path; from perfkit.machine.leases import leased\n"
    "gpus = ['GPU-a', 'GPU-b', 'GPU-c']\n"
    "with leased(gpus, int(sys.argv[2]), Path(sys.argv[1]), print) as mine:\n"
    "    print(*mine, flush=True); time.sleep(60)\n"
)


def holder(where: Path, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(where), str(count)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)


def test_what_another_process_holds_is_left_to_it_until_it_dies(tmp_path: Path) -> None:
    said: list[str] = []
    with holder(tmp_path, 2) as other:
        assert other.stdout is not None
        assert other.stdout.readline().split() == ["GPU-a", "GPU-b"]
        with leased(GPUS, 1, tmp_path, said.append) as mine:
            assert mine == ("GPU-c",)
        assert not said

        def end() -> None:
            while not said:
                time.sleep(0.01)
            other.send_signal(signal.SIGKILL)

        ending = threading.Thread(target=end)
        ending.start()
        with leased(GPUS, 2, tmp_path, said.append) as mine:
            assert mine == ("GPU-a", "GPU-b")
        ending.join()
    (words,) = said
    assert words.startswith("waiting for 2 of 3 GPUs: GPU-a is held by process ")
    assert f"GPU-b is held by process {other.pid}" in words


def test_more_than_there_are_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="4 GPUs asked for, 3 to choose from"),
        leased(GPUS, 4, tmp_path, print),
    ):
        pass


def test_a_link_in_the_shared_folder_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    (tmp_path / "GPU-a.lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"), leased(GPUS, 1, tmp_path, print):
        pass
    assert victim.read_text(encoding="utf-8") == "mine"
