"""The cells that matrices ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from perfkit.cases import Case, Matrix
from perfkit.errors import UsageError, unknown
from perfkit.paths import matrices

if TYPE_CHECKING:
    from collections.abc import Sequence


class PlannedCell(NamedTuple):
    """A case, the device it is meant for ("cpu" or "gpu"), and the GPU memory it needs in GiB."""

    case: Case
    device: str
    min_mem_gib: float


def load_plan(names: Sequence[str], model: str | None = None) -> tuple[PlannedCell, ...]:
    """Read matrices by name or file; ``model`` (a folder) takes the place of their models.

    Each case stands once. Raises UsageError for what cannot be read or does not exist.
    """
    cells: dict[Case, PlannedCell] = {}
    for name in names:
        path = find_matrix(name)
        matrix = Matrix.parse(_text(path), str(path))
        for case in _with_model(matrix.cases(str(path)), model):
            cells.setdefault(case, PlannedCell(case, matrix.device, matrix.min_mem_gib))
    return tuple(cells.values())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error.reason}") from None


def find_matrix(name: str) -> Path:
    """Return the file of a matrix: a path, or the name of one that comes with perfkit."""
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise UsageError(f"no matrix file {name}")
        return path
    known = matrices()
    if name not in known:
        raise UsageError(unknown("matrix", name, known))
    return known[name]


def _with_model(cases: Sequence[Case], model: str | None) -> Sequence[Case]:
    if model is None:
        return cases
    from perfkit.cases import check_positions
    from perfkit.inputs.models import local

    source = local(Path(model))
    renamed = tuple(dict.fromkeys(case.but(model=source.name) for case in cases))
    for case in renamed:
        try:
            check_positions(case, source.arch.positions)
        except ValueError as error:
            raise UsageError(str(error)) from None
    return renamed
