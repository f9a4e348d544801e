"""The commands of TensorRT-LLM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perfkit.errors import UsageError

_RESULTS = (Path("results/metrics_pytorch.json"), Path("results/metrics_trtllm.json"))
_MOCK = "data/mock/metrics_trtllm_synthetic.json"


def trt_plots(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Result files of both; default results/metrics_{pytorch,trtllm}.json."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("plots"),
) -> None:
    """Draw PyTorch against TensorRT-LLM: trt_tokens_per_sec.png and trt_latency_cdf.png."""
    from perfkit.reporting.plots import save
    from perfkit.reporting.sides import TORCH, TRT, figures, timed_sides
    from perfkit.results.store import check_writable, read

    given = files or [path for path in _RESULTS if path.is_file()]
    documents = [read(path) for path in given]
    timed = timed_sides(documents)
    names = ", ".join(map(str, given)) or "results"
    if TRT not in timed:
        first = given[0] if TORCH in timed else "FILE"
        raise UsageError(
            f"nothing measured of {TRT} in {names}: give a result file that has it, or try the "
            f"pictures with perfkit trt-plots {first} {_MOCK}"
        )
    if TORCH not in timed:
        raise UsageError(f"nothing measured of {TORCH} in {names}: give a result of perfkit run")
    drawn = figures(documents)
    check_writable(output)
    for name, figure in drawn.items():
        typer.echo(save(figure, output / f"{name}.png", documents))
