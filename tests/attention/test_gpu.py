"""On a GPU: every kernel over the grid and over random shapes, and no write out of bounds."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from perfkit.attention import inputs, registry
from perfkit.attention.problem import Problem
from perfkit.measurement.attention import measure_problem
from perfkit.measurement.watchdog import watchdog

SIZES = (  # batch, heads, kv_heads, q_len, kv_len
    (1, 4, 4, 512, 512),
    (2, 8, 2, 1024, 1024),
    (1, 2, 2, 64, 64),
    (1, 2, 1, 1, 1),
    (3, 2, 2, 127, 129),
    (1, 4, 2, 300, 700),
    (2, 2, 2, 200, 72),
    (40, 16, 16, 256, 256),
    (1, 8, 8, 4096, 4096),
    (1, 32, 8, 512, 512),
)


class OnlyOutputs:
    """A bench that judges outputs on the GPU and times nothing."""

    times_mean_something = False

    def __init__(self) -> None:
        import torch

        self.device = torch.device("cuda", 0)

    def poison(self, like: Any) -> None:
        import torch

        torch.full_like(like, float("nan"))

    def wait(self) -> None:
        import torch

        torch.cuda.synchronize()

    def kernels(self, call: Any) -> dict[str, int]:
        del call
        return {}

    def before(self, call: Any, cache: str) -> Any:
        del cache
        return call

    def rounds(self, turns: Any) -> int:
        del turns
        return 1

    def round(self, turns: Any) -> list[float]:
        return [float(turn.call() is not None) for turn in turns]


def assert_right(problems: Iterable[Problem]) -> set[str]:
    bench = OnlyOutputs()
    wrong, judged = [], set()
    for problem in problems:
        for (name, cache), outcome in measure_problem(problem, registry.OURS, bench).items():
            if outcome.verdict == "ok":
                judged.add(name)
            elif outcome.verdict != "unsupported":
                wrong.append(f"{name} {problem.id} {cache}: {outcome.verdict} {outcome.reason}")
    assert not wrong, "\n".join(wrong)
    return judged


@pytest.mark.gpu(min_cc=(9, 0))
@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_the_whole_grid_agrees_with_fp32(dtype: str, head_dim: int) -> None:
    problems = [
        Problem(dtype, causal, *sizes, head_dim) for causal in (False, True) for sizes in SIZES
    ]
    assert assert_right(problems) == set(registry.OURS)


@pytest.mark.gpu(min_cc=(9, 0))
def test_decode_agrees_with_fp32() -> None:
    shapes = (
        (1, 32, 32, 4096),
        (3, 8, 2, 1000),
        (1, 32, 8, 32768),
        (64, 8, 1, 130),
        (2, 4, 4, 1),
        (1, 5, 1, 100_000),
        (5, 64, 1, 3000),
    )
    problems = [
        Problem("bf16", causal, batch, heads, kv_heads, 1, kv_len, head_dim)
        for causal in (False, True)
        for head_dim in (64, 128)
        for batch, heads, kv_heads, kv_len in shapes
    ]
    problems += [Problem(dtype, False, 3, 8, 2, 1, 1000, 128) for dtype in ("fp16", "fp32")]
    assert "triton-decode" in assert_right(problems)


@pytest.mark.gpu(min_cc=(9, 0))
def test_random_shapes_agree_with_fp32() -> None:
    draw = random.Random(20261124)
    problems = []
    for _ in range(24):
        kv_heads = draw.choice((1, 2, 3))
        problems.append(
            Problem(
                draw.choice(("bf16", "fp16")),
                draw.random() < 0.5,
                draw.randint(1, 4),
                kv_heads * draw.choice((1, 2, 4, 5)),
                kv_heads,
                draw.randint(1, 900),
                draw.randint(1, 900),
                draw.choice((64, 128)),
            )
        )
    assert_right(problems)


@pytest.mark.gpu(min_cc=(9, 0))
def test_large_scores_neither_overflow_nor_vanish() -> None:
    import torch

    for name in ("triton", "triton-hopper"):
        q, k, v = (torch.randn(1, 2, 512, 128, device="cuda").bfloat16() for _ in range(3))
        out = registry.provider(name).run(q * 60, k * 60, v, True, 128**-0.5)
        best = registry.provider("math").run(q * 60, k * 60, v, True, 128**-0.5)
        assert torch.isfinite(out).all()
        assert (out.float() - best.float()).norm() < 0.02 * best.float().norm()


@pytest.mark.gpu(min_cc=(9, 0))
@pytest.mark.parametrize("grows_in", ["all rows", "one row"])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_scores_that_grow_from_key_to_key_are_rescaled(head_dim: int, grows_in: str) -> None:
    import torch

    q, k, v = (torch.randn(4, 8, 2048, head_dim, device="cuda").bfloat16() for _ in range(3))
    growth = torch.linspace(-1, 1, 2048, device="cuda")[:, None]
    q[..., :1] = torch.tensor(0.0 if grows_in == "one row" else 40.0)
    q[..., 1029, :1] = 40.0
    for sign in (1, -1):
        k[..., :1] = (sign * 3 * growth).bfloat16()
        for causal in (False, True):
            out = registry.provider("triton-hopper").run(q, k, v, causal, 0.5)
            right = registry.provider("math").run(q, k, v, causal, 0.5)
            difference = (out.float() - right.float()).norm(dim=-1)
            assert (difference < 2e-2 * right.float().norm(dim=-1)).all()


@pytest.mark.gpu(min_cc=(9, 0))
def test_sdpa_takes_the_layout_that_transformers_hands_over() -> None:
    import torch

    from perfkit.attention import sdpa

    q, k, v = (
        torch.randn(2, 300, 4, 64, device="cuda", dtype=torch.float16).transpose(1, 2)
        for _ in range(3)
    )
    out = sdpa(q, k, v, causal=True)
    assert out.stride() == q.stride()
    right = registry.provider("math").run(q, k, v, True, 64**-0.5)
    assert (out.float() - right.float()).norm() < 1e-2 * right.float().norm()
    assert inputs.fits_layout(out, "bshd")


@pytest.mark.gpu(min_cc=(9, 0))
@pytest.mark.parametrize("kv_heads", [8, 2])
@pytest.mark.parametrize("name", ["torch-flash", "torch-cudnn", "triton", "triton-hopper"])
def test_llama_computes_what_its_eager_arm_computes(name: str, kv_heads: int) -> None:
    """The prompt's and two decode steps' logits: as near to fp32 as eager in bf16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from perfkit.attention.transformers_hook import register

    torch.manual_seed(5)
    config = LlamaConfig(
        hidden_size=1024, intermediate_size=1024, num_hidden_layers=3, num_attention_heads=8,
        num_key_value_heads=kv_heads, vocab_size=512, max_position_embeddings=1024,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval().cuda()
    prompt = torch.randint(512, (2, 700), device="cuda")

    def logits(implementation: str) -> torch.Tensor:
        model.set_attn_implementation(implementation)
        cache, out = None, []
        with torch.inference_mode():
            for step in (prompt, prompt[:, :1], prompt[:, 1:2]):
                made = model(input_ids=step, past_key_values=cache, use_cache=True)
                cache = made.past_key_values
                out.append(made.logits.float())
        return torch.cat(out, dim=1)

    exact = logits("eager")
    model = model.bfloat16()
    eager, ours = ((logits(arm) - exact).norm() for arm in ("eager", register(name)))
    assert eager < 0.05 * exact.norm()
    assert ours < 1.2 * eager


SANITIZED = """
import torch
from perfkit.attention import registry
for name, q_len, kv_len, head_dim in (
    ("triton", 100, 70, 64), ("triton-hopper", 130, 200, 128), ("triton-hopper", 70, 70, 64),
    ("triton-decode", 1, 333, 128),
):
    for causal in (False, True):
        q = torch.randn(1, 4, q_len, head_dim, device="cuda").bfloat16()
        k, v = (torch.randn(1, 2, kv_len, head_dim, device="cuda").bfloat16() for _ in range(2))
        registry.provider(name).run(q, k, v, causal, head_dim ** -0.5)
        torch.cuda.synchronize()
"""


@pytest.mark.gpu(min_cc=(9, 0))
@pytest.mark.slow
def test_no_kernel_writes_out_of_bounds() -> None:
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        pytest.skip("needs compute-sanitizer from the CUDA toolkit")
    done = subprocess.run(
        [tool, "--error-exitcode=9", sys.executable, "-c", SANITIZED],
        capture_output=True, text=True, timeout=400, check=False,
        env=os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert "ERROR SUMMARY: 0 errors" in done.stdout


@pytest.mark.gpu
def test_a_stuck_kernel_ends_the_process_and_is_named() -> None:
    code = (
        "import torch\n"
        "from perfkit.measurement.watchdog import watchdog\n"
        "torch.zeros(1, device='cuda')\n"
        "with watchdog(1.0, 'triton on a-problem'):\n"
        "    torch.cuda._sleep(40_000_000_000)\n"
        "    torch.cuda.synchronize()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 70
    assert "triton on a-problem" in done.stderr


def test_the_watchdog_lets_what_ends_in_time_go_on() -> None:
    with watchdog(30.0, "nothing"):
        pass
