"""The table of cold and warm starts: a row a phase, a column a kind of start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.metrics import median
from perfkit.reporting.tables import DASH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.table import Table

_TOTALS = (
    ("process start to first token", "first_token_s", 1.0),
    ("  of which imports", "imports_s", 1.0),
    ("all that starting costs", "startup_s", 1.0),
    ("steady TTFT, ms", "ttft_s", 1e3),
    ("steady TPOT, ms", "tpot_s", 1e3),
)


def table(document: Mapping[str, Any]) -> Table:
    """Return the phases in seconds, medians over processes, then the totals."""
    from rich import box
    from rich.table import Table

    kinds = document["figures"]
    of_kind = {
        kind: [one for one in document["processes"] if one["kind"] == kind] for kind in kinds
    }
    made = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    made.add_column("seconds, medians")
    for kind, processes in of_kind.items():
        made.add_column(f"{kind}\n{len(processes)} started", justify="right", no_wrap=True)
    # torch-eager has a phase less: the fullest list has the order of all.
    for name in max((one["phases"] for one in document["processes"]), key=len):
        cells = [median([one["phases"].get(name) for one in of_kind[kind]]) for kind in kinds]
        made.add_row(name.replace("_", " "), *map(_number, cells))
    made.add_section()
    for words, name, scale in _TOTALS:
        cells = [kinds[kind][name] for kind in kinds]
        made.add_row(words, *(_number(one, scale) for one in cells))
    return made


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what follows the table: break-even, compiled anew, the machine."""
    for kind, one in document["break_even"].items():
        after = f"after {one['tokens']:,} tokens: " if one["tokens"] is not None else ""
        yield f"{kind}: level with torch-eager {after}{one['why']}"
    fallbacks = (one["engine"].get("fallback") for one in document["processes"])
    for words in dict.fromkeys(filter(None, fallbacks)):
        yield f"nothing like it runs here: {words}"
    for one in document["processes"]:
        if one["kind"] == "warm" and one["cache"]["new_files"]:
            yield f"a warm start wrote {one['cache']['new_files']} files: not all came from disk"
    yield f"{document['case']} | {document['machine']['name']} | {document['datetime'][:10]}"


def line(process: Mapping[str, Any]) -> str:
    """Return one line on a process that has ended."""
    phases = process["phases"]
    first_s = sum(phases.values()) - phases["further_tokens"]
    return f"{process['kind']}: first token {first_s:.2f} s after its process was started"


def _number(value: float | None, scale: float = 1.0) -> str:
    return DASH if value is None else f"{value * scale:.2f}"
