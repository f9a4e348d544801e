from __future__ import annotations

import subprocess
import sys


def test_importing_theory_and_arrivals_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from perfkit.batching import arrivals, lengths, traces\n"
        "from perfkit.batching.theory import bulk, bursts, fleets, formation, iteration, losses\n"
        "from perfkit.batching.theory import queues\n"
        "print('heavy:', sorted({'scipy', 'numba', 'pandas', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy: []" in done.stdout
