from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from perfkit.backends.apart.process import EngineProcess, Limits
from perfkit.backends.engine import ApartError
from perfkit.machine.guard import marked
from tests.machine.test_telemetry import gone, until

LIMITS = Limits(start_s=20, call_s=20, end_s=0.5)
ANSWERS = """
import os, signal, subprocess, sys, threading, time
from perfkit.backends.apart.serving import serve

def answer(name, header, arrays):
    if name == "double":
        return {"said": header["word"] * 2}, {"twice": arrays["numbers"] * 2}
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "exit":
        print("no room left on the couch", flush=True)
        os._exit(7)
    if name == "sleep":
        time.sleep(600)
    if name == "memory":
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    if name == "orphan":
        # As MPI does: a process in a session of its own.
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                                 start_new_session=True)
        return {"pid": child.pid}, {}
    if name == "stay":
        threading.Thread(target=time.sleep, args=(600,)).start()
        return {}, {}
    raise ValueError("no such call: " + name + "\\nand a second line")

serve(answer)
"""


@pytest.fixture
def process(tmp_path: Path) -> EngineProcess:
    script = tmp_path / "engine.py"
    script.write_text(ANSWERS)
    return EngineProcess([sys.executable, str(script)], {}, LIMITS)


def test_values_and_arrays_go_over_and_come_back(process: EngineProcess) -> None:
    numbers = np.arange(6, dtype=np.float32).reshape(2, 3)
    told, arrays = process.call("double", 20, {"word": "na"}, numbers=numbers)
    assert told == {"said": "nana"}
    assert np.array_equal(arrays["twice"], numbers * 2)
    assert arrays["twice"].dtype == np.float32
    process.close()
    process.close()
    assert not process.log.exists()


@pytest.mark.parametrize(
    ("call", "verdict", "words"),
    [
        ("die", "oom", "die: the system killed the engine's process (SIGKILL)"),
        ("exit", "crash", "ended with exit code 7; it last said: no room left on the couch"),
        ("memory", "oom", "memory: RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"),
        ("fly", "crash", "fly: ValueError: no such call: fly"),
    ],
)
def test_what_goes_wrong_there_is_a_verdict_in_one_line(
    process: EngineProcess, call: str, verdict: str, words: str
) -> None:
    with pytest.raises(ApartError) as caught:
        process.call(call, 20)
    assert caught.value.verdict == verdict
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    process.close()


def test_a_call_that_hangs_ends_with_the_process(process: EngineProcess) -> None:
    pid = process.call("orphan", 20)[0]["pid"]
    with pytest.raises(ApartError) as caught:
        process.call("sleep", 0.3)
    assert caught.value.verdict == "timeout"
    assert str(caught.value).startswith("sleep: no answer within 0.3 s")
    assert until(lambda: gone(pid), 5)
    with pytest.raises(ApartError, match="has ended"):
        process.call("double", 20)


def test_a_hang_as_it_ends_costs_a_moment_and_leaves_nobody(process: EngineProcess) -> None:
    pid = process.call("orphan", 20)[0]["pid"]
    process.call("stay", 20)
    start = time.monotonic()
    process.close()
    assert time.monotonic() - start < 10
    assert until(lambda: gone(pid), 5)
    assert marked(process.mark) == []


def test_a_busy_process_is_not_waited_for(process: EngineProcess) -> None:
    """As after Ctrl-C: whoever interrupted a call does not wait for its answer."""
    process._busy = True
    start = time.monotonic()
    process.close()
    assert time.monotonic() - start < LIMITS.end_s


OWNER = """
import sys, time
from perfkit.backends.apart.process import EngineProcess, Limits
process = EngineProcess([sys.executable, sys.argv[1]], {}, Limits())
print(process.call("orphan", 20)[0]["pid"], process.log.parent, process.mark, flush=True)
time.sleep(600)
"""


def test_nothing_outlives_a_perfkit_that_is_killed(tmp_path: Path) -> None:
    """Not even what has left for a session of its own, as MPI's ranks have."""
    (tmp_path / "engine.py").write_text(ANSWERS)
    asked = [sys.executable, "-c", OWNER, str(tmp_path / "engine.py")]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid, folder, mark = owner.stdout.readline().split()
        owner.kill()
    assert until(lambda: gone(int(pid)), 30)
    until(lambda: not marked(mark) and not Path(folder).exists(), 30)
    assert marked(mark) == []
    assert not Path(folder).exists()


@pytest.mark.parametrize("command", ["nobody-has-this", "/etc/hostname"])
def test_a_command_that_cannot_be_started(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ApartError, match=f"cannot start {command}: "):
        EngineProcess([command], {}, LIMITS)
    assert list(tmp_path.iterdir()) == []


def test_a_long_temporary_folder_still_holds_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    (tmp_path / "engine.py").write_text(ANSWERS)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    made = EngineProcess([sys.executable, str(tmp_path / "engine.py")], {}, LIMITS)
    assert made.call("double", 20, {"word": "x"}, numbers=np.zeros(1))[0] == {"said": "xx"}
    made.close()


def test_a_process_that_never_answers() -> None:
    mute = "import time; print('waiting for MPI', flush=True); time.sleep(600)"
    with pytest.raises(ApartError) as caught:
        EngineProcess([sys.executable, "-c", mute], {}, Limits(start_s=1.5, end_s=2))
    assert caught.value.verdict == "timeout"
    assert "it last said: waiting for MPI" in str(caught.value)


def test_a_process_that_cannot_start_says_its_last_words() -> None:
    with pytest.raises(ApartError) as caught:
        EngineProcess([sys.executable, "-c", "raise SystemExit('no libmpi.so')"], {}, LIMITS)
    assert caught.value.verdict == "crash"
    assert "exit code 1; it last said: no libmpi.so" in str(caught.value)
