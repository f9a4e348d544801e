"""llama-tiny on two gloo processes of this machine, against the same model in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil
import pytest
import torch

from perfkit.backends import backend
from perfkit.cases import Case
from perfkit.inputs import checkpoint, models
from perfkit.machine.guard import marked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from perfkit.backends.apart.engine import ApartEngine
    from perfkit.inputs.models import ModelSource

CASE = Case.parse("torch-eager/llama-tiny/fp32/nofmha/b2/p11/n5/tp2")
IDS = torch.arange(3, 25).reshape(2, 11)


def engine(case: Case, source: ModelSource | None = None) -> Any:
    module = backend(case.backend)
    loaded = module.load(case, source or models.find(case.model), "cpu")
    return module.build(loaded, case)


def nothing() -> None: ...


def listening(engine: ApartEngine) -> set[str]:
    """Return the addresses at which the processes of an engine listen."""
    mine = set(marked(engine._process.mark))
    return {
        address.laddr.ip
        for address in psutil.net_connections("inet")
        if address.pid in mine and address.status == psutil.CONN_LISTEN
    }


def agree(two: ApartEngine, one: Any) -> None:
    tokens = one.generate(IDS, 5, nothing)
    assert torch.equal(two.generate(IDS, 5, nothing), tokens)
    expected = torch.stack(list(one.forced_logits(IDS, tokens[:, :4]))).float()
    found = torch.stack(list(two.forced_logits(IDS, tokens[:, :4])))
    assert found.shape == (5, 2, 512)
    assert float((found - expected).norm() / expected.norm()) < 1e-5


@pytest.fixture(scope="module")
def ranks() -> Iterator[ApartEngine]:
    made = engine(CASE)
    yield made
    made.release()


def test_two_ranks_give_one_devices_tokens_and_logits(ranks: ApartEngine) -> None:
    agree(ranks, engine(CASE.but(tp=1)))


def test_they_tell_their_times_kernels_and_memory(ranks: ApartEngine) -> None:
    ranks.generate(IDS, 5, nothing)
    seconds, trace, _ = ranks.clock.finish()
    assert len(trace.tokens_s) == 5
    assert 0 < trace.ttft_s < trace.e2e_s == seconds
    assert "2 processes share this host's cores" in str(ranks.notes["times"])
    assert ranks.notes["process_group"] == "gloo"
    attention = ranks.attention()
    assert attention["prefill"]["class"] == attention["decode"]["class"] == "materialised"
    told = ranks.memory()
    assert list(told) == ["peak_rss_bytes"]
    assert 2**27 < int(str(told["peak_rss_bytes"])) < 2**34


def test_nobody_outside_this_host_reaches_them(ranks: ApartEngine) -> None:
    assert listening(ranks) == {"127.0.0.1"}


@pytest.mark.thorough
def test_a_folder_of_tied_embeddings_is_shared_too(tmp_path: Path) -> None:
    from dataclasses import replace

    from perfkit.architectures import ARCHITECTURES

    arch = replace(ARCHITECTURES["llama-tiny"], tied_embeddings=True)
    made = checkpoint.folder(
        models.ModelSource("tied", arch), "cpu", tmp_path, dummy=False, fp8=False
    )
    source = models.local(made)
    asked = CASE.but(model=source.name, attention="fmha")
    two = engine(asked, source)
    try:
        agree(two, engine(asked.but(tp=1), source))
    finally:
        two.release()
