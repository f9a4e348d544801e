"""The attention problems that a file asks for."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from perfkit.attention.problem import Problem
from perfkit.errors import UsageError, unknown
from perfkit.paths import shipped


@dataclass(frozen=True)
class ProblemSet:
    """Problems and the device they are meant for, "cpu" or "gpu"."""

    device: str
    problems: tuple[Problem, ...]


def named() -> dict[str, Path]:
    """Return the problem sets that come with perfkit, by name."""
    return {path.stem: path for path in sorted(shipped("configs/attention").glob("*.toml"))}


def load(name: str) -> ProblemSet:
    """Read a set by name or TOML file. Raises UsageError naming the file and what is wrong."""
    path = Path(name)
    if path.suffix != ".toml":
        if name not in named():
            raise UsageError(unknown("attention problem set", name, named()))
        path = named()[name]
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as TOML: {error}") from None
    for key in table:
        if key not in {"device", "problems"}:
            raise UsageError(f"{path}: {unknown('key', key, ('device', 'problems'))}")
    device, texts = table.get("device"), table.get("problems")
    if device not in {"cpu", "gpu"}:
        raise UsageError(f"{path}: device {device!r}: expected 'cpu' or 'gpu'")
    if not isinstance(texts, list) or not texts:
        raise UsageError(f"{path}: problems {texts!r}: expected a list of problem ids")
    try:
        problems = dict.fromkeys(Problem.parse(str(text)) for text in texts)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    return ProblemSet(device, tuple(problems))
