from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import load_file

from perfkit.inputs import checkpoint, models

if TYPE_CHECKING:
    from pathlib import Path

TINY = models.find("llama-tiny")
NOBODY = 2**22 - 1  # over the largest process number that Linux gives by default


def made(cache: Path, *, dummy: bool = False, fp8: bool = False) -> Path:
    return checkpoint.folder(TINY, "cpu", cache, dummy=dummy, fp8=fp8)


def test_seeded_weights_are_those_of_the_pytorch_arms(tmp_path: Path) -> None:
    place = made(tmp_path)
    weights = load_file(place / "model.safetensors")
    for name, value in models.build(TINY, "bf16", "cpu").state_dict().items():
        assert torch.equal(weights[name], value), name


def test_it_reads_back_as_a_model_of_the_same_shape(tmp_path: Path) -> None:
    source = models.local(made(tmp_path))
    assert source.arch == replace(TINY.arch, head_size=TINY.arch.head_dim)
    assert not models.build(source, "fp32", "cpu").config.tie_word_embeddings


def test_older_transformers_find_their_names(tmp_path: Path) -> None:
    config = json.loads((made(tmp_path) / "config.json").read_text())
    assert config["torch_dtype"] == "bfloat16"
    assert config["rope_theta"] == TINY.arch.rope_theta


def test_dummy_folders_have_a_config_alone_and_say_what_is_quantised(tmp_path: Path) -> None:
    assert [path.name for path in made(tmp_path, dummy=True).iterdir()] == ["config.json"]
    quantised = json.loads(
        (made(tmp_path, dummy=True, fp8=True) / "hf_quant_config.json").read_text()
    )
    assert quantised["quantization"]["quant_algo"] == "FP8"


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    first = made(tmp_path)
    (first / "mark").touch()
    assert (made(tmp_path) / "mark").is_file()


def test_a_digest_follows_config_quantisation_and_weights(tmp_path: Path) -> None:
    place = made(tmp_path)
    before = checkpoint.digest(place)
    assert checkpoint.digest(place) == before
    (place / "hf_quant_config.json").write_text("{}")
    quantised = checkpoint.digest(place)
    os.utime(place / "model.safetensors", ns=(1, 1))
    assert len({before, quantised, checkpoint.digest(place)}) == 3


def test_what_fails_half_way_leaves_nothing_and_old_leftovers_go(tmp_path: Path) -> None:
    left = tmp_path / f".place.{NOBODY}.tmp"
    left.mkdir()
    with pytest.raises(RuntimeError), checkpoint.whole(tmp_path / "place") as folder:  # noqa: PT012
        (folder / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_whoever_comes_second_takes_what_is_there(tmp_path: Path) -> None:
    with checkpoint.whole(tmp_path / "place") as folder:
        (folder / "mine").touch()
        (tmp_path / "place").mkdir()
        (tmp_path / "place" / "theirs").touch()
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["theirs"]
