"""What TensorRT-LLM is known to do wrong: each ends in a verdict, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch

from perfkit import trt_engines
from perfkit.backends import trtllm_engine, trtllm_pytorch
from perfkit.backends.apart.process import Limits
from perfkit.backends.engine import ApartError
from perfkit.backends.tensorrt_llm import driving
from perfkit.backends.tensorrt_llm.launch import LAUNCHER
from perfkit.errors import UsageError
from perfkit.inputs import models
from perfkit.machine.identity import Gpu
from tests.backends.trtllm.conftest import GPU
from tests.backends.trtllm.test_whole_path import CASE, EVERY, run
from tests.tensorrt_llm.contract import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perfkit.backends.apart.engine import ApartEngine
    from perfkit.cases import Case

pytestmark = [pytest.mark.cpu, pytest.mark.trt_contract]
NEWEST = "1.2.0rc2"
OLDEST_AND_NEWEST = [
    pytest.param(
        version,
        marks=pytest.mark.slow if version in {VERSIONS[0], NEWEST} else pytest.mark.thorough,
    )
    for version in VERSIONS
]
IDS = torch.arange(48).reshape(2, 24)


def opened(case: Case = CASE) -> ApartEngine:
    loaded = trtllm_engine.load(case, models.find(case.model), "cpu")
    return trtllm_engine.build(loaded, case)


def tokens(engine: ApartEngine, case: Case = CASE) -> torch.Tensor:
    return engine.generate(IDS, case.new_tokens, lambda: None)


def failure(call: Callable[[], object]) -> ApartError:
    with pytest.raises(ApartError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("trouble", "verdict", "words"),
    [
        ("build-killed", "oom", "build: the system killed the engine's process (SIGKILL)"),
        ("build-fallback", "unsupported", "the build says: Fall back to unfused MHA"),
        ("build-wrong", "unsupported", "built otherwise than asked: context_fmha asked True, "),
    ],
)
def test_a_build_that_fails_leaves_nothing_half_built(
    trtllm: Callable[..., None], tmp_path: Path, trouble: str, verdict: str, words: str
) -> None:
    trtllm(NEWEST, trouble)
    error = failure(opened)
    assert error.verdict == verdict
    assert words in str(error)
    assert list((tmp_path / "cache/engines").iterdir()) == []


@pytest.mark.parametrize(
    ("trouble", "verdict", "words"),
    [
        ("mismatch", "crash", "the engine fits another version or GPU: Version tag does not match"),
        ("oom", "oom", "CUDA out of memory"),
        ("kv-cut", "oom", "the KV pool holds 64 tokens, the case needs 128"),
    ],
)
def test_what_builds_and_then_does_not_load(
    trtllm: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
    verdict: str,
    words: str,
) -> None:
    trtllm(NEWEST)
    opened().release()
    monkeypatch.setenv("STANDIN_TROUBLE", trouble)
    error = failure(opened)
    assert error.verdict == verdict
    assert words in str(error)


def test_an_engine_is_built_once_and_its_files_are_looked_through(
    trtllm: Callable[..., None], tmp_path: Path
) -> None:
    trtllm(NEWEST)
    for cached in (False, True):
        engine = opened()
        assert engine.notes["engine_cached"] is cached
        engine.release()
    (folder,) = (tmp_path / "cache/engines").iterdir()
    (folder / "rank0.engine").unlink()
    assert "lacks rank0.engine; removed, so that it is built anew" in str(failure(opened))
    opened().release()


def test_too_few_tokens_are_a_crash(trtllm: Callable[..., None]) -> None:
    trtllm(NEWEST, "count")
    engine = opened()
    error = failure(lambda: tokens(engine))
    engine.release()
    assert error.verdict == "crash"
    assert "request 0 returned 5 tokens, expected 6" in str(error)


def test_tokens_that_do_not_follow_from_the_logits_are_diverged(
    trtllm: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logits come from a twin: what is measured is held against them by its own tokens."""
    trtllm(NEWEST, "garbage")
    result = run(CASE, monkeypatch)
    assert result.verdict == "diverged"
    assert str(result.reason).startswith("the logits agree, but the free run leaves")


def test_metrics_that_stay_empty_leave_the_clients_clock(trtllm: Callable[..., None]) -> None:
    trtllm(NEWEST, "no-metrics")
    engine = opened()
    tokens(engine)
    assert engine.notes["times"] == dict.fromkeys(
        ("first_token", "last_token", "other_tokens"), "client, streaming"
    )
    engine.release()


def test_an_on_arm_that_fell_back_is_no_on_arm(
    trtllm: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trtllm(NEWEST, "fallback")
    result = run(CASE, monkeypatch)
    assert result.verdict == "unsupported"
    assert str(result.reason).endswith("Fall back to unfused MHA because of unsupported data type.")
    assert "metrics" not in result.details
    off = CASE.but(attention="nofmha")
    engine = opened(off)
    assert engine.attention()["prefill"]["class"] == "materialised"
    engine.release()


@pytest.mark.slow
def test_a_hang_as_it_ends_comes_after_the_result(
    trtllm: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trtllm(NEWEST, "end-hang")
    monkeypatch.setattr(driving, "LIMITS", Limits(end_s=0.2))
    result = run(CASE, monkeypatch)
    assert result.details["metrics"]["ttft_s"] > 0


def test_a_hang_in_mpi_ends_in_time_with_a_verdict(
    trtllm: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trtllm(NEWEST, "mpi-hang")
    monkeypatch.setattr(driving, "LIMITS", Limits(build_s=1.5, end_s=0.2))
    error = failure(lambda: opened(CASE.but(tp=2)))
    assert error.verdict == "timeout"
    assert str(error).startswith("build: no answer within 1.5 s")


@pytest.mark.parametrize("version", EVERY)
def test_two_ranks_are_started_and_ended(
    version: str, trtllm: Callable[..., None], tmp_path: Path
) -> None:
    trtllm(version)
    engine = opened(CASE.but(tp=2))
    alone = opened()
    assert torch.equal(tokens(engine), tokens(alone))
    assert engine.memory()["weights_bytes"] == 2 * 6214 * 2**20
    engine.release()
    alone.release()
    assert len(list((tmp_path / "cache/engines").glob("*-tp2-*/rank*.engine"))) == 2


@pytest.mark.parametrize("version", OLDEST_AND_NEWEST)
@pytest.mark.parametrize(
    ("trouble", "verdict"),
    [("build-killed", "oom"), ("build-fallback", "unsupported"), ("mpi-hang", "timeout")],
)
def test_every_version_fails_in_the_same_words(
    version: str,
    trouble: str,
    verdict: str,
    trtllm: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trtllm(version, trouble)
    monkeypatch.setattr(driving, "LIMITS", Limits(build_s=3, end_s=0.2))
    assert failure(lambda: opened(CASE.but(tp=2))).verdict == verdict


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_counted(version: str, trtllm: Callable[..., None]) -> None:
    trtllm(version, "count")
    engine = opened()
    assert failure(lambda: tokens(engine)).verdict == "crash"
    engine.release()


def test_under_a_launcher_the_other_ranks_are_its_own(
    trtllm: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trtllm(NEWEST)
    script = tmp_path / "mpirun"
    script.write_text(
        "#!/bin/sh\n"
        f"printf '%s\\n' \"$1 $2 $3\" >> {tmp_path}/launched\n"
        "shift 3\nexport STANDIN_LAUNCHED=1\n"
        'exec "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv(LAUNCHER, f"{script} -n 2 trtllm-llmapi-launch")
    engine = opened(CASE.but(tp=2))
    tokens(engine)
    engine.release()
    assert (tmp_path / "launched").read_text().splitlines() == ["-n 2 trtllm-llmapi-launch"] * 2


@pytest.mark.slow
def test_a_main_module_without_a_guard_is_what_the_guard_is_for(
    trtllm: Callable[..., None], tmp_path: Path
) -> None:
    """Ranks import the main module again, the stand-in's as MPI's: unguarded, they start more."""
    trtllm(NEWEST)
    loaded = trtllm_engine.load(CASE, models.find(CASE.model), "cpu")
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from tensorrt_llm._tensorrt_engine import LLM\n"
        "from tensorrt_llm.llmapi import KvCacheConfig\n"
        f"LLM(model={str(loaded.model)!r}, skip_tokenizer_init=True, tensor_parallel_size=2,\n"
        "    kv_cache_config=KvCacheConfig(max_tokens=64))\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60,
        env=os.environ | {"STANDIN_RANK_S": "2"}, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "bootstrapping phase" in done.stderr


def refusal(case: Case) -> str:
    return str(trtllm_engine.unsupported(case, "cuda"))


def test_what_this_machine_cannot_run_is_named(
    trtllm: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trtllm(NEWEST, gpus=1)
    assert trtllm_engine.unsupported(CASE, "cuda") is None
    assert trtllm_engine.unsupported(CASE, "cpu") == "TensorRT-LLM needs a GPU"
    assert "needs 2 GPUs" in refusal(CASE.but(tp=2))
    assert "found NVIDIA H100 80GB HBM3 (80 GiB, capability 9.0)" in refusal(CASE.but(tp=2))
    assert "chooses its own kernels" in refusal(CASE.but(attention="fmha=triton"))
    assert "no fused attention for fp32" in refusal(CASE.but(precision="fp32"))
    old = Gpu(0, "GPU-0", "NVIDIA A100", GPU.memory_bytes, (8, 0))
    monkeypatch.setattr(driving, "gpus", lambda: (old,))
    assert "fp8 at tp 1 needs 1 GPU with compute capability 8.9 or higher, found NVIDIA A100" in (
        refusal(CASE.but(precision="fp8"))
    )
    older = Gpu(0, "GPU-0", "Tesla V100", GPU.memory_bytes, (7, 0))
    monkeypatch.setattr(driving, "gpus", lambda: (older,))
    assert "bf16 at tp 1 needs 1 GPU with compute capability 8.0 or higher" in refusal(CASE)
    assert "no switch" in str(trtllm_pytorch.unsupported(CASE.but(attention="nofmha"), "cuda"))


def test_a_version_without_the_engine_api_refuses_the_arms_by_name(
    trtllm: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trtllm(NEWEST)
    monkeypatch.setattr(trtllm_engine, "installed", lambda: "1.4.0rc1")
    monkeypatch.setattr(trtllm_pytorch, "installed", lambda: "1.4.0rc1")
    assert "1.4.0rc1 dropped the TensorRT engine API" in refusal(CASE)
    assert trtllm_pytorch.unsupported(CASE, "cuda") is None


def test_build_engine_wants_a_checkpoint_where_the_config_says_so(
    trtllm: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trtllm(NEWEST)
    monkeypatch.setattr(trt_engines, "gpus", driving.gpus)
    monkeypatch.setattr(driving, "gpu_absence", lambda: "")
    config = tmp_path / "mine.json"
    config.write_text(
        '{"model": "local:mine", "precision": "bf16", "fmha": true, "max_batch_size": 2,'
        ' "max_input_len": 24, "max_seq_len": 32, "max_num_tokens": 64, "weights": "checkpoint"}'
    )
    with pytest.raises(UsageError, match="give its folder with --model PATH"):
        trt_engines.build(config, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no model: expected a config.json"):
        trt_engines.build(config, tmp_path / "empty")
    seeded = trtllm_engine.load(CASE, models.find(CASE.model), "cpu").model
    shutil.copytree(seeded, tmp_path / "mine")
    asked, built = trt_engines.build(config, tmp_path / "mine")
    assert asked.fmha
    assert (built.folder / "rank0.engine").is_file()


def test_a_real_checkpoint_is_checked_against_the_reference(
    trtllm: Callable[..., None],
) -> None:
    """A folder of our own weights: stand-in and transformers read the same logits from it."""
    trtllm(NEWEST)
    seeded = trtllm_engine.load(CASE, models.find(CASE.model), "cpu").model
    source = models.local(seeded)
    case = CASE.but(model=source.name)
    engine = trtllm_engine.build(trtllm_engine.load(case, source, "cpu"), case)
    forced = torch.zeros((2, 3), dtype=torch.int64)
    logits = list(engine.forced_logits(IDS, forced))
    engine.release()
    model: Any = models.build(source, "fp32", "cpu")
    whole = model(torch.cat([IDS, forced], dim=1)).logits[:, -4:]
    assert len(logits) == 4
    assert torch.allclose(torch.stack(logits, dim=1), whole, atol=1e-3)
