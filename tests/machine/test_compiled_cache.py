from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perfkit.machine import compiled_cache
from perfkit.machine.identity import Machine, identify
from tests import triton_process

H100 = Machine(
    device="cuda",
    key="nvidia-h100_driver-580.1_cuda-13.0_torch-2.11.0",
    name="NVIDIA H100",
    fields={"triton": "3.6.0", "python": "3.12.3", "gpu_uuid": "GPU-1"},
)


@pytest.fixture
def unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No variable set, perfkit's cache in ``tmp_path``; both as before afterwards."""
    for name in compiled_cache.FOLDERS:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PERFKIT_CACHE", str(tmp_path))
    return tmp_path / "compiled" / compiled_cache.key(identify("cpu"))


def fields(**changed: Any) -> Machine:
    return replace(H100, fields={**H100.fields, **changed})


def test_the_key_is_of_the_machine_and_the_versions() -> None:
    assert compiled_cache.key(H100) == (
        "nvidia-h100_driver-580.1_cuda-13.0_torch-2.11.0_triton-3.6.0_python-3.12.3"
    )
    others = [
        fields(triton="3.7.1"),
        fields(python="3.12.4"),
        replace(H100, key=H100.key.replace("2.11.0", "2.13.0")),
        replace(H100, key=H100.key.replace("h100", "h200")),
    ]
    assert len({compiled_cache.key(one) for one in (H100, *others)}) == 5
    # another GPU of the same kind runs the same code
    assert compiled_cache.key(fields(gpu_uuid="GPU-2")) == compiled_cache.key(H100)


def test_both_go_to_the_machines_folder(unset: Path) -> None:
    compiled_cache.use("cpu")
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) == unset / "inductor"
    assert Path(os.environ["TRITON_CACHE_DIR"]) == unset / "triton"


def test_a_folder_that_cannot_be_written_leaves_the_defaults(
    tmp_path: Path, unset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PERFKIT_CACHE", str(tmp_path / "file" / "inside"))
    compiled_cache.use("cpu")
    assert {os.environ[name] for name in compiled_cache.FOLDERS} == {""}
    assert not unset.exists()


def test_what_a_person_has_set_stays(unset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "/mine")
    compiled_cache.use("cpu")
    assert os.environ["TRITON_CACHE_DIR"] == "/mine"
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) == unset / "inductor"


def test_the_default_that_torch_writes_at_its_import_is_nobodys_choice(
    unset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    assert default_cache_dir().startswith(tempfile.gettempdir())
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", default_cache_dir())
    compiled_cache.use("cpu")
    assert Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]) == unset / "inductor"


def compiled(block: int) -> dict[str, int]:
    told: dict[str, int] = triton_process.answer(
        "tests.machine.compiled_kernel", block, interpret=False
    )
    return told


def test_a_later_process_finds_the_kernel_of_the_same_shape_alone(unset: Path) -> None:
    assert compiled(64) == {"hits": 0, "misses": 1}
    assert len(list((unset / "triton").rglob("*.cubin"))) == 1
    assert compiled(64) == {"hits": 1, "misses": 0}
    assert compiled(128) == {"hits": 0, "misses": 1}
    assert len(list((unset / "triton").rglob("*.cubin"))) == 2


def test_triton_writes_where_a_person_says(
    unset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "mine"))
    compiled(64)
    assert len(list((tmp_path / "mine").rglob("*.cubin"))) == 1
    assert not (unset / "triton").exists()
