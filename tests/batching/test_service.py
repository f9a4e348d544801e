from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from perfkit.batching.service import Sample, Service, fit, samples
from perfkit.errors import UsageError
from tests.reporting.documents import cell, document

PREFILL = (0.004, 2e-5, 3e-9)
STEP = (0.01, 2e-4, 5e-8)


def made(batch: int, prompt: int, new: int = 64, noise: float = 1.0) -> Sample:
    """A sample of a machine that follows the model exactly, times ``noise``."""
    prefill = PREFILL[0] + PREFILL[1] * batch * prompt + PREFILL[2] * batch * prompt**2
    step = STEP[0] + STEP[1] * batch + STEP[2] * batch * (prompt + new / 2)
    return Sample(batch, prompt, new, prefill * noise, step * noise)


GRID = [made(b, p) for b, p in itertools.product((1, 8, 32), (128, 512, 2048))]


def test_a_machine_that_follows_the_model_is_found_again() -> None:
    found = fit(GRID)
    assert found.prefill == pytest.approx(PREFILL, rel=1e-6)
    assert found.step == pytest.approx(STEP, rel=1e-6)
    assert found.prefill_error is not None
    assert found.prefill_error.worst < 1e-6
    assert found.prefill_error.samples == 9


def test_seconds_by_hand() -> None:
    service = Service(prefill=(1.0, 0.5, 0.25), step=(2.0, 0.5, 0.125))
    # 1 + 0.5 * 2 * 4 + 0.25 * 2 * 16 = 13; three steps at context 4 + 2: 2 + 1 + 1.5 = 4.5 each.
    assert service.prefill_s(2, 4) == 13.0
    assert service.step_s(2, 6) == 4.5
    assert service.total_s(2, 4, 4) == 13.0 + 3 * 4.5
    assert service.total_s(2, 4, 1) == 13.0
    assert service.table(2, 4, 1).tolist() == [0.0, 7.0, 13.0]


def test_no_coefficient_is_negative_and_errors_are_those_of_unseen_cells() -> None:
    draw = np.random.default_rng(7)
    noisy = [made(s.batch, s.prompt_len, noise=float(draw.uniform(0.9, 1.1))) for s in GRID]
    found = fit(noisy)
    assert min(*found.prefill, *found.step) >= 0
    assert found.step_error is not None
    assert 0.01 < found.step_error.mean < found.step_error.worst < 0.4


def test_a_fit_is_written_and_read_back() -> None:
    found = fit(GRID, "an arm on a machine")
    told = json.loads(json.dumps(found.to_json()))
    assert Service.from_json(told) == found
    del told["of"]
    assert Service.from_json(told).of is None  # a file of before
    given = Service(PREFILL, STEP)
    assert Service.from_json(json.loads(json.dumps(given.to_json()))) == given
    with pytest.raises(ValueError, match="not a fitted service: KeyError"):
        Service.from_json({"prefill": [1, 2, 3]})


def test_far_beyond_what_was_measured_it_is_not_asked() -> None:
    found = fit(GRID)
    assert found.prefill_s(64, 4096) > 0
    with pytest.raises(ValueError, match="batch 65 is over 2 times the largest measured, 32"):
        found.prefill_s(65, 128)
    with pytest.raises(ValueError, match="context 4300 is over 2 times"):
        found.step_s(1, 4300)
    assert Service(PREFILL, STEP).prefill_s(10_000, 128) > 0


@pytest.mark.parametrize(
    "few",
    [
        GRID[:3],
        [made(1, 128)] * 9,
        [made(b, 128, new=1) for b in (1, 2, 4, 8)],
    ],
)
def test_too_few_shapes_are_refused(few: list[Sample]) -> None:
    with pytest.raises(UsageError, match="needs over 3 cells of different shapes"):
        fit([s if s.new_tokens > 1 else Sample(s.batch, 128, 1, s.prefill_s, None) for s in few])


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_times_that_cannot_be_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite numbers >= 0"):
        Service((bad, 0.0, 0.0), STEP)
    with pytest.raises(ValueError, match="no time at all"):
        Service((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def test_samples_are_the_ok_cells_of_one_arm() -> None:
    made_of = document(
        cell(batch=1),
        cell(batch=8),
        cell("torch-compile", batch=8),
        cell(batch=32, verdict="oom"),
    )
    arm = {"backend": "torch-eager"}
    of, found = samples([made_of], arm)
    assert of == "torch-eager/llama2-7b/bf16/fmha/tp1 on h200"
    assert [one.batch for one in found] == [1, 8]
    with pytest.raises(
        UsageError, match=r"cells of 2 arms and machines: .*torch-compile.*choose by"
    ):
        samples([made_of], {})
    other = document(cell(batch=1), machine={"key": "another", "name": "x", "fields": {}})
    with pytest.raises(UsageError, match="of 2 arms and machines: another"):
        samples([made_of, other], arm)
    with pytest.raises(UsageError, match="no cell of verdict ok for backend nobody"):
        samples([made_of], {"backend": "nobody"})
