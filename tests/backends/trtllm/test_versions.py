from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from perfkit.backends.tensorrt_llm.versions import Api, engine_api, installed, pytorch_api
from perfkit.errors import UsageError
from tests.tensorrt_llm import standin
from tests.tensorrt_llm.contract import VERSIONS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("version", VERSIONS)
def test_the_engine_api_is_where_its_version_has_it(version: str) -> None:
    found = engine_api(version)
    assert isinstance(found, Api)
    old = version.startswith("0.")
    assert found.module == ("tensorrt_llm" if old else "tensorrt_llm._tensorrt_engine")
    assert found.block_in_kv_config is version.startswith("1.2")


def test_the_newest_stable_release_has_both() -> None:
    assert isinstance(engine_api("1.2.1"), Api)
    assert isinstance(pytorch_api("1.2.1"), Api)


@pytest.mark.parametrize("version", ["0.15.0", "0.18.2", "0.21.0"])
def test_versions_between_and_before_are_refused_with_the_range(version: str) -> None:
    assert engine_api(version) == (
        f"TensorRT-LLM {version}: trtllm-engine supports 0.16, 0.17 and 1.0 to 1.2"
    )
    assert pytorch_api(version) == (
        f"TensorRT-LLM {version}: trtllm-pytorch supports 1.0 and later"
    )


def test_a_version_that_dropped_the_engine_api_says_so_and_keeps_pytorch() -> None:
    reason = engine_api("1.4.0rc1")
    assert isinstance(reason, str)
    assert reason.startswith("TensorRT-LLM 1.4.0rc1 dropped the TensorRT engine API")
    assert "FMHA ablation" in reason
    assert isinstance(pytorch_api("1.4.0rc1"), Api)


def test_no_package_and_a_version_that_is_none() -> None:
    assert engine_api(None) == pytorch_api(None)
    assert "no module tensorrt_llm" in str(engine_api(None))
    assert "not a version" in str(engine_api("unknown"))
    assert installed() is None


def test_another_interpreter_may_have_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    standin.make(tmp_path, "1.2.0rc2")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PERFKIT_TRTLLM_PYTHON", str(python))
    assert installed() == "1.2.0rc2"
    monkeypatch.setenv("PERFKIT_TRTLLM_PYTHON", str(tmp_path / "nobody"))
    with pytest.raises(UsageError, match="name the interpreter that has TensorRT-LLM"):
        installed()
