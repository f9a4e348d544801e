"""Options that several commands share, each with one meaning and one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    Path | None, typer.Option(help="Local Hugging Face folder, instead of random weights.")
]
Device = Annotated[str, typer.Option(help="auto, cpu or gpu.")]
Cases = Annotated[
    list[str] | None, typer.Option(help="Only cells whose id matches, * allowed; repeatable.")
]
Prompts = Annotated[Path | None, typer.Option(help="Prompts, separated by %% lines.")]
Rounds = Annotated[int, typer.Option(min=1, help="Timed rounds a cell.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Keep cells that an interrupted run finished.")
]
Warmup = Annotated[int, typer.Option(min=1, help="Warm-up cap, in rounds.")]
