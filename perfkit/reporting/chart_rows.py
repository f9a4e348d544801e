"""What charts are drawn from: plain rows, numbers in the units that people read. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.profiling.classes import CLASSES
from perfkit.profiling.explain import WALL
from perfkit.reporting.drawing import shape_words, spread
from perfkit.reporting.pareto import beaten
from perfkit.reporting.tables import GIB, peak
from perfkit.results.store import cells_of, section

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.profiling.explain import Moved
    from perfkit.reporting.pooled import Row as Pooled
    from perfkit.reporting.roofline import Point, Roof
    from perfkit.reporting.scene import Drawn, Scene
    from perfkit.results.ablation import Pair
    from perfkit.results.store import Document

Row = dict[str, Any]
# Places of a distribution's line, few where there are many lines: all samples stay in the file.
_MOST_PLACES, _ALL_PLACES = 80, 16_000
FRONT, BEATEN = "on the front", "beaten by another"
_LATENCIES = {"ttft_s": "time to first token", "itl_s": "between tokens"}


def workload(cell: Drawn) -> str:
    """Return a cell's model and shape in words."""
    return f"{cell.model}: {shape_words(cell.shape, with_new=True)}"


def effect_rows(rows: Iterable[Pooled]) -> list[Row]:
    """Return a row a cell that has an effect, as a quotient, in the order given."""
    from perfkit.reporting.effects import names

    kept = [(row, row.effect) for row in rows if row.effect is not None]
    made = []
    for name, (row, effect) in zip(names([row for row, _ in kept]), kept, strict=True):
        low, high = effect.interval or (effect.value, effect.value)
        made.append({
            "cell": name, "machine": row.group.machine, "verdict": row.verdict,
            "times": 1 + effect.value, "low": 1 + low, "high": 1 + high, "runs": effect.runs,
        })  # fmt: skip
    return made


def throughput_rows(scene: Scene) -> list[Row]:
    """Return a row a cell that has both figures: what it gives within what time.

    ``state`` is "on the front", "beaten by another" (of the same machine, model, prompt and new
    tokens) or the verdict that keeps it from being compared.
    """
    alike: dict[tuple[Any, ...], list[Drawn]] = {}
    for cell in scene.cells:
        if cell.metric("e2e_s") and cell.metric("output_tokens_per_s"):
            alike.setdefault((cell.model, *cell.shape[1:]), []).append(cell)
    made = []
    for (model, prompt, new), cells in alike.items():
        lost = beaten(cells)
        for at, cell in enumerate(cells):
            free = BEATEN if at in lost else FRONT
            made.append({
                "panel": f"{model}, prompt {prompt}, new {new}", "arm": cell.arm,
                "machine": cell.machine,
                "batch": cell.shape[0], "e2e (s)": cell.metric("e2e_s"),
                "output token/s": cell.metric("output_tokens_per_s"),
                "state": cell.label if cell.doubtful else free,
            })  # fmt: skip
    return made


def latency_rows(scene: Scene) -> list[Row]:
    """Return a row a line: a cell's distribution of one latency, lists of ``ms`` and ``share``."""
    lines = [
        (cell, name, samples)
        for cell in scene.cells
        for name in _LATENCIES
        if (samples := sorted(cell.samples(name)))
    ]
    places = max(8, min(_MOST_PLACES, _ALL_PLACES // max(len(lines), 1)))
    return [
        {
            "workload": workload(cell), "arm": cell.arm, "latency": _LATENCIES[name],
            "verdict": cell.label, "samples": len(samples), **_line(samples, places),
        }
        for cell, name, samples in lines
    ]  # fmt: skip


def _line(samples: Sequence[float], places: int) -> Row:
    """Return places of the empirical distribution: at each sample the share of those up to it."""
    steps = [((at + 1) / len(samples), value) for at, value in enumerate(samples)]
    kept = [(0.0, samples[0]), *spread(steps, places)]
    return {
        "ms": [float(f"{1e3 * value:.4g}") for _, value in kept],
        "share": [float(f"{share:.4g}") for share, _ in kept],
    }


def memory_rows(cells: Iterable[Drawn]) -> list[Row]:
    """Return a row a part of a cell's bars: the forecast's parts, and the best peak recorded."""
    parts = {"weights_bytes": "weights", "kv_bytes": "KV cache", "activation_bytes": "activations"}
    made = []
    for cell in cells:
        name = f"{cell.arm}, {workload(cell)}"
        told = section(cell.body, "memory", "forecast")
        made += [
            {"cell": name, "bar": "forecast", "part": f"forecast: {words}", "order": order,
             "GiB": told[key] / GIB, "verdict": cell.label}
            for order, (key, words) in enumerate(parts.items()) if told.get(key) is not None
        ]  # fmt: skip
        taken = peak(cell.body) if cell.has_figures else None
        if taken is not None:
            words = taken[0].removesuffix("_bytes").replace("_", " ")
            made.append({"cell": name, "bar": "measured", "part": f"measured: {words}", "order": 0,
                         "GiB": taken[1] / GIB, "verdict": cell.label})  # fmt: skip
    return made


def roofline_rows(shown: Iterable[Point]) -> list[Row]:
    """Return a row a phase of a cell."""
    return [
        {"arm": one.arm, "cell": one.name, "phase": one.phase, "FLOP/byte": one.flop_per_byte,
         "TFLOP/s": one.flop_per_s / 1e12, "verdict": one.verdict}
        for one in shown
    ]  # fmt: skip


def roof_rows(over: Iterable[Roof], ends: tuple[float, float]) -> list[Row]:
    """Return a row a place of a roof's line."""
    from perfkit.reporting.roofline import line_of, words_of

    return [
        {"ceiling": words_of(roof), "order": at, "FLOP/byte": x, "TFLOP/s": rate / 1e12}
        for roof in over
        for at, (x, rate) in enumerate(line_of(roof, ends))
    ]


def ablation_rows(pairs: Iterable[Pair], names: Mapping[str, str]) -> list[Row]:
    """Return a row a figure of a pair; ``names`` are the figures to show, with their words."""
    from perfkit.reporting.ablation import label_of

    made = []
    for pair in pairs:
        for name, words in names.items():
            change = pair.changes.get(name)
            if change is not None:
                low, high = change.interval or (change.value, change.value)
                made.append({
                    "pair": label_of(pair), "attention": str(pair.case["attention"]),
                    "figure": words, "change (%)": 100 * change.value, "low": 100 * low,
                    "high": 100 * high, "runs": change.runs,
                })  # fmt: skip
    return made


def breakdown_rows(documents: Iterable[Document]) -> list[Row]:
    """Return a row a kernel class of each profiled cell and phase; shares of the measured time.

    Of the kernels' own, where under the profiler they took longer.
    """
    from perfkit.reporting.profiling import rest_of

    made = []
    for cell in (one for document in documents for one in cells_of(document).values()):
        for name in WALL:
            phase = section(cell, "profile", "phases", name)
            if not phase:
                continue
            wall_s = section(cell, "metrics").get(WALL[name]) or phase["window_s"]
            rest = rest_of(cell)
            parts = {**phase["classes"], rest: max(0.0, wall_s - phase["busy_s"])}
            whole = sum(parts.values())
            case = cell["case"]
            label = (f"{case['backend']} {case['model']} {case['precision']} {case['attention']} "
                     f"b{case['batch']} p{case['prompt_len']}, {name}")  # fmt: skip
            made += [
                {"cell": label, "class": kind, "ms": 1e3 * parts[kind],
                 "share (%)": 100 * parts[kind] / whole, "order": at}
                for at, kind in enumerate((*CLASSES, rest)) if parts.get(kind)
            ]  # fmt: skip
    return made


def waterfall_rows(moved: Moved) -> list[Row]:
    """Return a row a bar from A's time to B's, in ms."""
    at = 1e3 * moved.a.wall_s
    made: list[Row] = [{"step": f"A: {moved.a.name}", "from": 0.0, "to": at, "moved": at,
                        "kind": "whole"}]  # fmt: skip
    for kind, seconds in moved.seconds.items():
        made.append({"step": kind, "from": at, "to": at + 1e3 * seconds, "moved": 1e3 * seconds,
                     "kind": kind})  # fmt: skip
        at += 1e3 * seconds
    end = 1e3 * moved.b.wall_s
    made.append({"step": f"B: {moved.b.name}", "from": 0.0, "to": end, "moved": end,
                 "kind": "whole"})  # fmt: skip
    return [
        {**row, "order": order,
         "label": f"{row['moved']:.4g}" if row["kind"] == "whole" else f"{row['moved']:+.3g}"}
        for order, row in enumerate(made)
    ]  # fmt: skip
