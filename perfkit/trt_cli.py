"""The commands of TensorRT-LLM: build an engine, measure, draw, and stand beside trtllm-bench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perfkit.errors import UsageError
from perfkit.options import Model, Resume, Rounds, Warmup

if TYPE_CHECKING:
    from perfkit.results.store import Document

_RESULTS = (Path("results/metrics_pytorch.json"), Path("results/metrics_trtllm.json"))
_MOCK = "data/mock/metrics_trtllm_synthetic.json"


def build_engine(
    config: Annotated[Path, typer.Argument(help="Engine config, such as configs/*.json.")],
    model: Model = None,
) -> None:
    """Build the TensorRT-LLM engine that a config describes, unless the cache has it."""
    from perfkit import trt_engines
    from perfkit.backends.engine import ApartError

    try:
        asked, built = trt_engines.build(config, model)
    except ApartError as error:
        typer.echo(f"perfkit: {error.verdict}: {error}", err=True)
        raise typer.Exit(1) from None
    arm = "fused" if asked.fmha else "unfused"
    typer.echo(
        f"{arm} context attention, as asked; "
        + ("found in the cache, built in" if built.cached else "built in")
        + f" {built.build_s:.1f} s"
    )
    typer.echo(built.folder)


def trt(
    config: Annotated[
        Path | None, typer.Argument(help="Engine config; without one, the matrix trt.")
    ] = None,
    model: Model = None,
    rounds: Rounds = 5,
    max_warmup: Warmup = 3,
    output: Annotated[
        Path | None, typer.Option(help="Result file; default results/metrics_trtllm[_tp2].json.")
    ] = None,
    resume: Resume = False,
) -> None:
    """Measure TensorRT-LLM: the matrix trt, or the cells that one engine config holds."""
    import os

    from perfkit.backends.tensorrt_llm.driving import CONFIGS
    from perfkit.running import Request, check_output, measure_and_show, resolve_device
    from perfkit.suite import Measuring
    from perfkit.trt_engines import cells_of_config, result_name

    place = output or Path("results") / result_name(config)
    check_output(place)
    resolve_device("gpu")
    matrix = "trt"
    if config is not None:
        matrix = cells_of_config(config, place.with_suffix(".matrix.toml"))
        # What measures is another process: its backend reads this.
        os.environ[CONFIGS] = str(config.resolve())
    what = Measuring((matrix,), model, "gpu", None, rounds, max_warmup, seed=0)
    raise typer.Exit(measure_and_show(Request(what, (), place, resume)))


def import_trtllm_bench(
    file: Annotated[Path, typer.Argument(help="File of --report_json, or a log of any version.")],
    requests: Annotated[
        Path | None, typer.Option(help="File of --request_json of the same run.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Result file.")] = Path(
        "results/metrics_trtllm_bench.json"
    ),
) -> None:
    """Turn what trtllm-bench reported into a result file, which no ratio and no gate uses."""
    import json
    from datetime import UTC, datetime

    from perfkit.reporting.tables import results_table, show
    from perfkit.results import store
    from perfkit.results.trtllm_bench import document
    from perfkit.results.trtllm_report import parse

    if output.suffix != ".json" or output.is_dir():
        raise UsageError(f"--output {output}: expected the name of a .json file")
    report = parse(_text(file), str(file))
    made: Document = document(
        report,
        now=datetime.now(UTC),
        requests=None if requests is None else _json(requests),
        requests_where=str(requests),
    )
    store.check_writable(output.parent)
    store.write_whole(output, json.dumps(made, indent=2, allow_nan=False) + "\n")
    show(results_table(made), made)
    for cell in store.cells_of(made).values():
        for note in cell["imported"]["notes"]:
            typer.echo(note)
    typer.echo(output)


def trtllm_bench(
    case: Annotated[str, typer.Argument(help="Case id of trtllm-engine or trtllm-pytorch.")],
    dataset: Annotated[
        Path | None, typer.Option(help="Write the case's prompts to this JSONL file.")
    ] = None,
    api_version: Annotated[str, typer.Option(help="Of TensorRT-LLM: 1.2, 1.0 or 0.17.")] = "1.2",
    rounds: Rounds = 5,
) -> None:
    """Print the trtllm-bench command equivalent to a case, and what of it is not."""
    from perfkit import trt_bench
    from perfkit.cases import Case
    from perfkit.inputs.prompts import PromptSet, read
    from perfkit.paths import shipped
    from perfkit.results import store

    parsed = Case.parse(case)
    lines = trt_bench.script(parsed, api_version, rounds, dataset)
    if dataset is not None:
        prompts = PromptSet.make(read(shipped("data/prompts.txt")), None, seed=0)
        content = trt_bench.requests(parsed, api_version, rounds, prompts)
        if dataset.is_dir():
            raise UsageError(f"--dataset {dataset} is a folder: expected the name of a file")
        store.check_writable(dataset.parent)
        store.write_whole(dataset, content)
    typer.echo("\n".join(lines))


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


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text: expected trtllm-bench's JSON or log") from None


def _json(path: Path) -> object:
    import json

    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{path} is not JSON ({error}): expected a --request_json file") from None
