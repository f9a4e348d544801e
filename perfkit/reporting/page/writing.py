"""From what was gathered to the text of one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.reporting.mark import WORD, mark_of
from perfkit.reporting.page.attention import attention_section
from perfkit.reporting.page.blocks import Part
from perfkit.reporting.page.pictures import drawing, has_charts
from perfkit.reporting.page.sections import gate_section, part_of
from perfkit.reporting.pooled import commit_of
from perfkit.reporting.tables import date_of, machine_name
from perfkit.results.store import cells_of, synthetic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfkit.reporting.page.gathering import Gathered

_HERE = Path(__file__).parent
# Columns that the style knows by their heads.
_KINDS = {
    "verdict": "verdict", "cell": "name", "problem": "name", "command": "command",
    "recorded command": "command", "why": "name", "reason": "name",
    "machine": "machine", "commit": "commit",
}  # fmt: skip


def page(gathered: Gathered, *, interactive: bool | None = None) -> str:
    """Return the report's HTML, with charts where the extra ``report`` is there, unless told.

    Raises UsageError where nothing can be shown, with all that was wrong.
    """
    if not (gathered.results or gathered.attention or gathered.gates):
        wrong = "; ".join(gathered.problems) or "no files were given"
        raise UsageError(f"nothing to report: {wrong}")
    charts = has_charts() if interactive is None else interactive
    parts = list(_parts(gathered, interactive=charts))
    script = _script(charts=charts and any(
        picture.spec for part in parts for section in part.sections for picture in section.pictures
    ))  # fmt: skip
    return _render(
        title="perfkit report",
        about=_about(gathered),
        problems=gathered.problems,
        parts=parts,
        word=WORD,
        kinds=_KINDS,
        style=(_HERE / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=_hash(script),
    )


def _parts(gathered: Gathered, *, interactive: bool) -> Iterable[Part]:
    """Yield what was measured, then apart from it what nobody measured."""
    measured = [one for one in gathered.results if synthetic(one.document) is None]
    made_up = [one for one in gathered.results if synthetic(one.document) is not None]
    if gate := gate_section(gathered.gates):
        yield Part("gates", "Gates", None, [gate])
    if measured:
        draw = drawing([one.document for one in measured], interactive=interactive)
        yield part_of("measured", "Measured", None, measured, draw)
    for at, one in enumerate(gathered.attention):
        draw = drawing([one.document], interactive=interactive)
        section = attention_section(one, draw)
        yield Part(f"attention-{at}", "Attention", mark_of([one.document]), [section])
    if made_up:
        documents = [one.document for one in made_up]
        draw = drawing(documents, interactive=interactive)
        yield part_of("synthetic", "Synthetic", mark_of(documents), made_up, draw)


def _about(gathered: Gathered) -> list[str]:
    """Return lines on what the report is of: machines, days, commits, files."""
    found = [one for one in gathered.results if synthetic(one.document) is None]
    documents = [one.document for one in found]
    lines = []
    for machine in dict.fromkeys(map(machine_name, documents)):
        mine = [document for document in documents if machine_name(document) == machine]
        days = sorted({date_of(document) for document in mine})
        commits = dict.fromkeys(map(commit_of, mine))
        cells = sum(len(cells_of(document)) for document in mine)
        span = " to ".join(dict.fromkeys((days[0], days[-1])))
        lines.append(
            f"{machine}: {cells} cells in {len(mine)} files, measured {span}, commit "
            f"{', '.join(commits)}"
        )
    return lines


def _script(*, charts: bool) -> str:
    own = (_HERE / "report.js").read_text(encoding="utf-8")
    if not charts:
        return own
    import vl_convert

    snippet = (_HERE / "charts.js").read_text(encoding="utf-8")
    # An HTML parser ends a script at these letters, wherever they stand.
    bundle = str(vl_convert.javascript_bundle(snippet)).replace("</script", "<\\/script")
    return f"{own}\n(() => {{\n{bundle}\n}})();\n"


def _hash(script: str) -> str:
    """Return the one script that the page lets run, as a Content-Security-Policy names it."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _render(**values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=False, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2").render(**values)
