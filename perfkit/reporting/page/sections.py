"""The sections of a report: for each its words, its picture, and its numbers in a table."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.reporting import ablation as ablation_report
from perfkit.reporting import charts, profiling, roofline
from perfkit.reporting import gate as gate_report
from perfkit.reporting.chart_rows import (
    ablation_rows,
    breakdown_rows,
    latency_rows,
    memory_rows,
    roof_rows,
    roofline_rows,
    throughput_rows,
    waterfall_rows,
    workload,
)
from perfkit.reporting.latency import latency
from perfkit.reporting.memory import largest_of, memory
from perfkit.reporting.memory_table import account
from perfkit.reporting.page import health, words
from perfkit.reporting.page.blocks import Part, Section, Table, digits
from perfkit.reporting.page.pictures import short_named
from perfkit.reporting.page.verdicts import verdict_section
from perfkit.reporting.pareto import throughput_latency_pareto
from perfkit.reporting.pooled import groups
from perfkit.reporting.scene import set_scene
from perfkit.reporting.tables import DASH, GIB, gib, machine_name
from perfkit.results.ablation import ablate
from perfkit.results.store import cells_of, section
from perfkit.results.validity import machine_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from perfkit.profiling.explain import Moved
    from perfkit.reporting.page.gathering import Found, Gate
    from perfkit.reporting.page.pictures import Draw
    from perfkit.reporting.scene import Scene
    from perfkit.results.ablation import Pair
    from perfkit.results.store import Document

_MOST_WATERFALLS = 4


def part_of(name: str, title: str, mark: str | None, found: Sequence[Found], draw: Draw) -> Part:
    """Return the sections of these documents; ``draw`` makes their pictures."""
    documents = [short_named(one.document) for one in found]
    scene = set_scene(documents)
    makers: dict[str, Callable[[], Section | None]] = {
        "Verdicts": lambda: verdict_section(found, draw, across=_across(found)),
        "Latency distribution": lambda: _latency(scene, found, draw),
        "Throughput against latency": lambda: _pareto(scene, draw),
        "Roofline with measured ceilings": lambda: _roofline(documents, draw),
        "Memory: forecast against measured": lambda: _memory(scene, draw),
        "Fused attention ablated": lambda: _ablation(documents, draw) if mark is None else None,
        "Where the time goes": lambda: _profiles(documents, draw),
        "Run health": lambda: _health(found),
        "To measure a row again": lambda: _again(found) if mark is None else None,
    }
    made = [_made(words, make) for words, make in makers.items()]
    return Part(name, title, mark, [one for one in made if one is not None])


def _made(title: str, make: Callable[[], Section | None]) -> Section | None:
    """Return a section, or one that says why it is not there: the others still stand."""
    try:
        return make()
    except Exception as error:  # a file may be odd in a way that nobody thought of
        reason = f"Not shown: {type(error).__name__}: {error}"[:300]
        return Section(re.sub(r"\W+", "-", title.lower()), title, [reason])


def _across(found: Sequence[Found]) -> str:
    """Say which files are of which machine, where there is more than one."""
    files: dict[str, list[str]] = {}
    for one in found:
        files.setdefault(machine_key(one.document), []).append(one.path.name)
    told = "; ".join(f"{key}: {_some(names)}" for key, names in files.items())
    return words.ACROSS.format(len(files), told) if len(files) > 1 else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def gate_section(gates: Sequence[Gate]) -> Section | None:
    """Return the verdicts of gates, worst change first."""
    if not gates:
        return None
    headers = (*gate_report.HEADERS, "reason")
    tables = [
        Table(
            f"{gate.path.name}: {len(gate.judgements)} figures",
            headers,
            [(*gate_report.row_of(one), one.reason or "")
             for one in gate_report.ranked(gate.judgements)],
            frozenset({"cell", "figure", "verdict", "reason"}),
            folded=False,
        )
        for gate in gates
    ]  # fmt: skip
    said = [words.GATE]
    said += [f"{gate.path.name}: {problem}" for gate in gates for problem in gate.problems]
    return Section("gate", "Regression gate", said, (), tables)


def _latency(scene: Scene, found: Sequence[Found], draw: Draw) -> Section:
    headers = ("cell", "model and shape", "n", "TTFT p50 ms", "TTFT p90 ms", "TTFT p99 ms",
               "ITL p50 ms", "ITL p90 ms", "ITL p99 ms", "E2E p50 ms")  # fmt: skip
    rows = [
        (cell.arm, workload(cell), str(len(cell.samples("ttft_s"))),
         *(_ms(section(cell.body, "quantiles", name).get(key)) for name in ("ttft_s", "itl_s")
           for key in ("p50", "p90", "p99")),
         _ms(section(cell.body, "quantiles", "e2e_s").get("p50")))
        for cell in scene.cells if cell.has_figures
    ]  # fmt: skip
    told = [words.LATENCY]
    for one in found:
        cells = cells_of(one.document).values()
        timed = [cell for cell in cells if section(cell, "metrics").get("ttft_s") is not None]
        silent = sum(not section(cell, "samples").get("ttft_s") for cell in timed)
        if silent:
            told.append(words.SILENT.format(one.path.name, silent))
    return Section(
        "latency", "Latency distribution", told, draw(
            "Latency distributions: time to first token and time between tokens, a line a cell",
            lambda: latency(scene), lambda: charts.latency(latency_rows(scene), scene),
        ),
        [Table("Quantiles", headers, rows, frozenset(headers[:2]))],
    )  # fmt: skip


def _pareto(scene: Scene, draw: Draw) -> Section | None:
    told = throughput_rows(scene)
    if not told:
        return None
    headers = ("workload", "arm", "batch", "e2e s", "output token/s", "")
    rows = [
        (row["panel"], row["arm"], str(row["batch"]), digits(row["e2e (s)"]),
         digits(row["output token/s"]), row["state"])
        for row in told
    ]  # fmt: skip
    picture = draw(
        "Output throughput over end-to-end latency, beaten cells grey",
        lambda: throughput_latency_pareto(scene), lambda: charts.pareto(told, scene),
    )  # fmt: skip
    return Section(
        "pareto", "Throughput against latency", [words.PARETO], picture,
        [Table("Points", headers, rows, frozenset({"workload", "arm", ""}))],
    )  # fmt: skip


def _roofline(documents: Sequence[Document], draw: Draw) -> Section | None:
    """Draw one roofline a machine: their ceilings are their own."""
    headers = ("machine", "arm", "cell", "phase", "verdict", "FLOP/byte", "TFLOP/s")
    pictures, rows, ceilings = [], [], []
    for key in dict.fromkeys(map(machine_key, documents)):
        mine = [document for document in documents if machine_key(document) == key]
        own = set_scene(mine)
        on_gpu = any(section(one, "perfkit", "session").get("device") == "cuda" for one in mine)
        shown, over = roofline.points(own.cells, on_gpu=on_gpu), roofline.roofs(mine)
        name = machine_name(mine[0])
        pictures += draw(
            f"Roofline of {name}: rate of each phase under the measured ceilings",
            partial(roofline.figure, f"Roofline, measured ceilings: {name}", own, shown, over),
            partial(_roofline_chart, own, shown, over),
        )
        rows += [(name, one.arm, one.name, one.phase, one.verdict, digits(one.flop_per_byte),
                  digits(one.flop_per_s / 1e12)) for one in shown]  # fmt: skip
        ceilings += [f"{name}: {roofline.words_of(roof)} (medians over sessions)." for roof in over]
    if not rows:
        return None
    said = [words.ROOFLINE, *(ceilings or [words.NO_ROOF])]
    table = Table("Phases", headers, rows, frozenset(headers[:5]))
    return Section("roofline", "Roofline with measured ceilings", said, pictures, [table])


def _memory(scene: Scene, draw: Draw) -> Section:
    headers = ("arm", "model and shape", "verdict", "forecast GiB", "allocated GiB", "device GiB",
               "forecast ÷ allocated - 1")  # fmt: skip
    rows = []
    for cell in scene.cells:
        one = account(cell.body)
        sizes = (one.forecast_total, one.allocated, one.device or one.rss)
        rows.append((
            cell.arm, workload(cell), cell.label,
            *(DASH if size is None else gib(size / GIB) for size in sizes),
            DASH if one.error is None else f"{one.error:+.1%}",
        ))  # fmt: skip
    return Section(
        "memory", "Memory: forecast against measured", [words.MEMORY],
        draw(
            "Memory of the largest cells: the forecast's parts beside the measured peak",
            lambda: memory(scene), lambda: charts.memory(memory_rows(largest_of(scene))),
        ),
        [Table("All cells", headers, rows, frozenset(headers[:3]))],
    )  # fmt: skip


def _ablation(documents: Sequence[Document], draw: Draw) -> Section | None:
    """Pair within each group of runs: runs of different commits say nothing together."""
    made = groups(documents)
    commits = len({group.commit for group in made}) > 1
    pictures, quoted, tables = [], [], []
    for group in made:
        pairs: list[Pair] = ablate(group.runs)
        if not pairs:
            continue
        where = f"{group.machine}, commit {group.commit}" if commits else group.machine
        pictures += draw(
            f"Change by fused attention of TTFT, TPOT and throughput on {where}",
            partial(ablation_report.figure, pairs), partial(_ablation_chart, pairs),
        )  # fmt: skip
        quoted += [(where, line.removeprefix("- ")) for line in ablation_report.quoted(pairs)]
        tables.append(
            Table(f"{where}: {len(pairs)} pairs, {len(group.runs)} runs", ablation_report.HEADERS,
                  ablation_report.rows(pairs), frozenset(ablation_report.HEADERS[:4]))
        )  # fmt: skip
    if not tables:
        return None
    heads = ("runs", "the often-quoted gain, and what was found")
    tables.append(Table("What is often quoted", heads, quoted, frozenset(heads)))
    return Section("ablation", "Fused attention ablated", [words.ABLATION], pictures, tables)


def _profiles(documents: Sequence[Document], draw: Draw) -> Section | None:
    told = breakdown_rows(documents)
    if not told:
        return None
    pictures = draw(
        "Share of each kernel class in the time of a prefill and of a decode step",
        lambda: profiling.breakdown(documents), lambda: charts.breakdown(told, profiling.COLOURS),
    )  # fmt: skip
    headers = ("cell and phase", "class", "ms", "share of the time %")
    rows = [(row["cell"], row["class"], digits(row["ms"]), f"{row['share (%)']:.1f}")
            for row in told]  # fmt: skip
    tables = [Table("Kernel classes", headers, rows, frozenset(headers[:2]))]
    found, refused = _waterfalls(documents)
    for moved in found:
        told = waterfall_rows(moved)
        pictures += draw(
            f"Waterfall of a {moved.phase}: from {moved.a.name} to {moved.b.name} by kernel class",
            partial(profiling.waterfall, moved),
            partial(charts.waterfall, told, profiling.COLOURS),
        )
        steps = [(row["step"], f"{row['moved']:+.4g}") for row in told]
        caption = f"{moved.phase}: {moved.a.name} to {moved.b.name}"
        tables.append(Table(caption, ("step", "ms"), steps, frozenset({"step"})))
    return Section("kernels", "Where the time goes", [words.KERNELS, *refused], pictures, tables)


def _waterfalls(documents: Iterable[Document]) -> tuple[list[Moved], list[str]]:
    """Return what moved to each profiled cell from the first one of its work, and refusals."""
    from perfkit.profiling.explain import WALL, moved

    alike: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for document in documents:
        for cell in cells_of(document).values():
            if section(cell, "profile", "phases"):
                case = cell["case"]
                names = ("model", "batch", "prompt_len", "new_tokens", "tp")
                key = (machine_key(document), *(case[name] for name in names))
                alike.setdefault(key, []).append(cell)
    made, refused = [], []
    for cells in alike.values():
        first, *others = sorted(cells, key=_plainness)
        pairs = ((first, other, phase) for other in others for phase in WALL)
        for one, other, phase in pairs:
            if not any(section(side, "profile", "phases", phase) for side in (one, other)):
                continue
            try:
                made.append(moved(one, other, phase))
            except UsageError as error:
                refused.append(f"No waterfall of a {phase}: {error}")
    if len(made) > _MOST_WATERFALLS:
        refused.append(
            f"{len(made) - _MOST_WATERFALLS} more waterfalls: perfkit explain A B draws each."
        )
    return made[:_MOST_WATERFALLS], list(dict.fromkeys(refused))


def _plainness(cell: Mapping[str, Any]) -> tuple[bool, bool]:
    """Sort the plainest first: without fused attention, then eager."""
    case = section(cell, "case")
    return case["attention"] != "nofmha", case["backend"] != "torch-eager"


def _health(found: Sequence[Found]) -> Section:
    said = [words.HEALTH]
    bad = health.not_ok(found)
    tables = ([bad] if bad.rows else []) + [health.health(found), health.sessions(found)]
    if not bad.rows:
        said.insert(0, "Every cell is ok.")
    return Section("health", "Run health", said, (), tables)


def _again(found: Sequence[Found]) -> Section:
    return Section("again", "To measure a row again", [words.AGAIN], (), [health.commands(found)])


def _roofline_chart(
    scene: Scene, shown: Sequence[roofline.Point], over: Sequence[roofline.Roof]
) -> Any:
    if not shown or not over:
        return None
    roofs = roof_rows(over, roofline.span(shown, over))
    return charts.roofline(roofline_rows(shown), roofs, scene)


def _ablation_chart(pairs: Sequence[Pair]) -> Any:
    return charts.ablation(ablation_rows(pairs, ablation_report.DRAWN))


def _ms(seconds: float | None) -> str:
    return DASH if seconds is None else digits(1e3 * seconds)
