"""Makes a strict stand-in package ``tensorrt_llm`` of one version in a folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.tensorrt_llm.contract import USED, accepted, types

_SOURCE = Path(__file__).parent / "package"


def make(folder: Path, version: str) -> None:
    """Write the package, what it accepts, and the metadata that names its version."""
    shutil.copytree(_SOURCE, folder, dirs_exist_ok=True)
    classes = {
        what: {"names": accepted(version, what).names, "types": types(version, what)}
        for what in USED
    }
    told = {"version": version, "classes": classes}
    (folder / "tensorrt_llm" / "accepted.json").write_text(json.dumps(told), encoding="utf-8")
    if version.startswith("0."):
        shutil.rmtree(folder / "tensorrt_llm" / "_tensorrt_engine")
    about = folder / f"tensorrt_llm-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: tensorrt_llm\nVersion: {version}\n", encoding="utf-8"
    )
