from __future__ import annotations

import pytest
from pydantic import ValidationError

from perfkit.cases import Case, Matrix, reference_of
from perfkit.errors import UsageError
from perfkit.paths import matrices

EXAMPLE = "torch-compile/llama2-7b/bf16/fmha/b8/p512/n128/tp1"


def test_the_id_is_the_documented_one_and_parses_back() -> None:
    case = Case(
        backend="torch-compile", model="llama2-7b", precision="bf16", attention="fmha",
        batch=8, prompt_len=512, new_tokens=128,
    )  # fmt: skip
    assert case.id == EXAMPLE
    assert Case.parse(EXAMPLE) == case


def test_a_provider_is_part_of_the_id() -> None:
    case = Case.parse(EXAMPLE.replace("/fmha/", "/fmha=torch-flash/"))
    assert case.provider == "torch-flash"
    assert case.fused
    assert Case.parse(case.id) == case


def test_a_case_cannot_change() -> None:
    with pytest.raises(ValidationError):
        Case.parse(EXAMPLE).batch = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "llama2-7bb"}, "did you mean 'llama2-7b'"),
        ({"backend": "torch-eger"}, "did you mean 'torch-eager'"),
        ({"precision": "bf61"}, "unknown precision 'bf61': did you mean 'bf16'"),
        ({"attention": "flash"}, "expected nofmha, fmha or fmha=PROVIDER"),
        ({"batch": 0}, "batch"),
        ({"prompt_len": 4000, "new_tokens": 97}, "4097 is over the 4096 positions of llama2-7b"),
        ({"model": "local:../etc"}, "characters outside"),
    ],
)
def test_what_cannot_be_is_refused_when_made(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words.replace("(", r"\(")):
        Case.parse(EXAMPLE).but(**change)


def test_an_unknown_key_names_the_nearest() -> None:
    with pytest.raises(ValidationError):
        Case(**{**Case.parse(EXAMPLE).model_dump(), "batchs": 1})
    text = 'device = "cpu"\n[axes]\nbatchs = [1]\n'
    with pytest.raises(UsageError, match="unknown axis 'batchs': did you mean 'batch'"):
        Matrix.parse(text, "m.toml").cases("m.toml")
    with pytest.raises(UsageError, match=r"m.toml: unknown key 'axis': did you mean 'axes'"):
        Matrix.parse('device = "cpu"\n[axis]\n', "m.toml")


@pytest.mark.parametrize("text", ["", "a/b", EXAMPLE + "/x", EXAMPLE.replace("b8", "b-8")])
def test_what_is_no_id_is_said_with_the_form(text: str) -> None:
    with pytest.raises(UsageError, match="expected the form torch-compile/"):
        Case.parse(text)


def test_the_reference_is_eager_fp32_with_scores_materialised() -> None:
    reference = reference_of(Case.parse(EXAMPLE))
    assert reference.id == "torch-eager/llama2-7b/fp32/nofmha/b8/p512/n128/tp1"


def test_a_matrix_is_includes_then_the_product_less_excludes() -> None:
    matrix = Matrix.parse(
        """
        device = "gpu"
        [axes]
        backend = ["torch-eager"]
        model = ["llama2-7b"]
        precision = ["bf16", "fp16"]
        batch = [1, 8]
        prompt_len = [128]
        new_tokens = [32]
        [[exclude]]
        precision = "fp16"
        batch = 8
        [[include]]
        backend = "torch-compile"
        model = "llama2-7b"
        precision = "bf16"
        batch = [1, 2]
        prompt_len = 128
        new_tokens = 32
        """,
        "m.toml",
    )
    ids = [case.id for case in matrix.cases()]
    assert ids == [
        "torch-compile/llama2-7b/bf16/fmha/b1/p128/n32/tp1",
        "torch-compile/llama2-7b/bf16/fmha/b2/p128/n32/tp1",
        "torch-eager/llama2-7b/bf16/fmha/b1/p128/n32/tp1",
        "torch-eager/llama2-7b/bf16/fmha/b8/p128/n32/tp1",
        "torch-eager/llama2-7b/fp16/fmha/b1/p128/n32/tp1",
    ]


def test_an_empty_matrix_and_bad_toml_are_said() -> None:
    with pytest.raises(UsageError, match="no cell is left"):
        Matrix.parse('device = "cpu"', "m.toml").cases("m.toml")
    with pytest.raises(UsageError, match=r"m\.toml: not TOML"):
        Matrix.parse("device =", "m.toml")
    with pytest.raises(UsageError, match="device"):
        Matrix.parse('device = "tpu"', "m.toml")


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("smoke", 5), ("baseline-cpu", 8), ("baseline-gpu", 40), ("llama2-7b", 672),
        ("llama2-13b", 288), ("precision", 72), ("tp2", 24), ("tp2-cpu", 2),
    ],
)  # fmt: skip
def test_the_matrices_that_come_along_expand(name: str, cells: int) -> None:
    path = matrices()[name]
    assert len(Matrix.parse(path.read_text(encoding="utf-8"), name).cases()) == cells


@pytest.mark.parametrize("batch", ["true", "2.0", '"2"'])
def test_a_count_is_a_whole_number_and_nothing_like_it(batch: str) -> None:
    text = (
        'device = "cpu"\n[axes]\nbackend = ["torch-eager"]\nmodel = ["llama-tiny"]\n'
        f'precision = ["fp32"]\nbatch = [{batch}]\nprompt_len = [8]\nnew_tokens = [2]\n'
    )
    with pytest.raises(UsageError, match="batch: Input should be a valid integer"):
        Matrix.parse(text, "m.toml").cases("m.toml")
