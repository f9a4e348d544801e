from __future__ import annotations

import subprocess
import sys

from perfkit.attention import registry

LIGHT = """
import sys
import perfkit.attention
from perfkit.attention import registry
assert registry.NAMES
print([name for name in ("torch", "triton", "transformers", "flashinfer") if name in sys.modules])
"""


def test_names_are_known_without_anything_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ours_are_known_and_peers_are_not_among_them() -> None:
    assert set(registry.OURS) <= set(registry.NAMES)
    for name in registry.NAMES:
        ours = registry.provider(name).source.startswith("perfkit/")
        assert ours == (name in (*registry.OURS, "math"))
