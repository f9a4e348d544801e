"""Profiles for people: lines, tables, and the pictures of where the time went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.profiling.classes import CLASSES, kernel_class
from perfkit.profiling.explain import IDLE, OUTSIDE, WALL
from perfkit.profiling.phase_times import CPU, device_events
from perfkit.reporting.drawing import FAINT, INK, blank, canvas, legend_below, tidy
from perfkit.reporting.looks import PALETTE
from perfkit.reporting.scene import set_scene
from perfkit.results.store import cells_of, section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from perfkit.profiling.explain import Moved, Side
    from perfkit.profiling.table import Profile

_CALL = {"prefill": "a prefill", "decode": "a decode step"}
COLOURS = {
    **dict(zip(CLASSES, (*PALETTE, "#8C564B", "#17BECF", "#BCBD22")[: len(CLASSES)], strict=True)),
    **dict.fromkeys((IDLE, OUTSIDE), "#DDDDDD"),
}
_SEEN = 1e-4  # of A's time: less is written as nothing


def lines(cell: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a profiled cell's phases spent their time in, or why that is not known."""
    told = section(cell, "profile")
    if "absent" in told:
        yield f"no phases: {told['absent']}"
        return
    what = "operators" if told.get("device") == CPU else "kernels"
    for name in WALL:
        phase = section(told, "phases", name)
        if not phase:
            continue
        wall_s = section(cell, "metrics").get(WALL[name])
        measured = "not measured" if wall_s is None else f"{_ms(wall_s)} measured"
        yield (
            f"{_CALL[name]} ({measured}): {phase['launches']:g} {what} run "
            f"{_ms(phase['busy_s'])} of a window of {_ms(phase['window_s'])}; shares of the "
            f"{what}' time"
        )
        for kind, share in sorted(phase["shares"].items(), key=lambda one: -one[1]):
            yield f"  {kind:14} {_ms(phase['classes'][kind]):>12}  {share:6.1%}"
        if wall_s is not None:
            left = _ms(wall_s - phase["busy_s"])
            yield f"  {rest_of(cell):14} {left:>12}  (measured less {what})"
    yield from told.get("notes", ())


def waterfall_lines(moved: Moved) -> Iterator[str]:
    """Yield what moved, a line a class, and what of each side's time its profile shows."""
    a, b = moved.a, moved.b
    share = f" ({b.wall_s / a.wall_s - 1:+.1%})" if moved.one_session else ""
    yield (
        f"{_CALL[moved.phase]}: {a.name} {_ms(a.wall_s)}, {b.name} {_ms(b.wall_s)}: "
        f"{(b.wall_s - a.wall_s) * 1e3:+.4g} ms{share}"
    )
    if not moved.one_session:
        yield "  measured in two sessions: between them the host may have changed, so no ratio"
    yield f"  {'':14} {a.name:>28} {b.name:>28} {'moved':>12}"
    for kind, seconds in moved.seconds.items():
        sides = (_ms(side.classes.get(kind, 0.0)) for side in (a, b))
        yield "  {:14} {:>28} {:>28} {:>12}".format(kind, *sides, f"{seconds * 1e3:+.4g} ms")
    for side in (a, b):
        yield _accounted(side)
        if moved.phase == "decode" and side.calls < moved.steps:
            yield f"{side.name}: profiled were the first {side.calls} of {moved.steps} steps"


def _accounted(side: Side) -> str:
    """Say what of the measured time a side's profile accounts for, and what the rest is."""
    busy = 1 - side.classes[side.rest] / side.wall_s
    if side.rest == OUTSIDE:
        what = f"operators account for {busy:.0%} of the measured time, the rest is Python"
    else:
        seen = "" if side.counted is None else f" of {side.counted} counted"
        what = (
            f"{side.launches:g}{seen} launches run {busy:.0%} of the measured time; idle gaps are "
            f"the rest of it (the profile's own window is {side.window_s / side.wall_s:.0%} of "
            "it: a profiler slows the host)"
        )
    longer = "; kernels ran longer under the profiler" if side.classes[side.rest] < 0 else ""
    return f"{side.name}: {what}{longer}"


def breakdown(documents: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Return a bar for each profiled cell and phase, by class and idle; None without any."""
    bars = [(cell, name) for document in documents for cell in cells_of(document).values()
            for name in WALL if section(cell, "profile", "phases", name)]  # fmt: skip
    if not bars:
        return None
    made = canvas(
        set_scene(documents), "Where the time goes, by kernel class", 1.9 + 0.55 * len(bars)
    )
    axes = made.subplots()
    for y, (cell, name) in enumerate(bars):
        phase = section(cell, "profile", "phases", name)
        wall_s = section(cell, "metrics").get(WALL[name]) or phase["window_s"]
        rest = rest_of(cell)
        parts = {**phase["classes"], rest: max(0.0, wall_s - phase["busy_s"])}
        whole = sum(parts.values())
        left = 0.0
        for kind in (*CLASSES, rest):
            share = 100 * parts.get(kind, 0.0) / whole
            axes.barh(y, share, 0.6, left=left, color=COLOURS[kind])
            if share >= 6:
                axes.text(left + share / 2, y, f"{share:.0f}", ha="center", va="center",
                          fontsize=7, color="white" if kind == CLASSES[0] else INK)  # fmt: skip
            left += share
        over = phase["busy_s"] > wall_s
        told = f"{_ms(whole)} profiled\n{_ms(wall_s)} measured" if over else _ms(wall_s)
        axes.text(101, y, told, va="center", fontsize=7, color=INK)
    axes.set_yticks(range(len(bars)), [_labelled(cell, name) for cell, name in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_xlim(0, 112)
    axes.set_xlabel("share of the measured time (of the kernels', where they are more), %",
                    fontsize=8)  # fmt: skip
    tidy(axes, "x")
    kinds = {
        kind for cell, name in bars for kind in section(cell, "profile", "phases", name, "classes")
    }
    kinds |= {rest_of(cell) for cell, _ in bars}
    _legend(made, [kind for kind in (*CLASSES, IDLE, OUTSIDE) if kind in kinds])
    return made


def rest_of(cell: Mapping[str, Any]) -> str:
    """Return what the measured time is called that no kernel, or operator, accounts for."""
    return OUTSIDE if section(cell, "profile").get("device") == CPU else IDLE


def _labelled(cell: Mapping[str, Any], phase: str) -> str:
    """Name a cell's phase, and what speaks against its figures."""
    doubt = "" if cell.get("verdict") == "ok" else f" ({cell.get('verdict')})"
    return f"{_named(cell)}\n{phase}{doubt}"


def timeline(profile: Profile, title: str) -> Figure | None:
    """Return the kernels and gaps of the prefill and of the last decode step; None without any.

    None too for a CPU's operators, whose self times are no intervals.
    """
    if profile.events is None or profile.ranges is None or profile.events.empty:
        return None
    spans = _spans(profile)
    if not spans:
        return None
    made = blank(1.4 + 1.1 * len(spans), f"Kernels and idle gaps: {title}")
    panels = made.subplots(len(spans), 1, squeeze=False)[:, 0]
    used: set[str] = set()
    for axes, (name, events, begin_s, end_s) in zip(panels, spans.values(), strict=True):
        used |= _bars(axes, events, begin_s, end_s)
        axes.set_title(f"{name}: {_ms(end_s - begin_s)}", fontsize=9, loc="left")
        axes.set_yticks([])
        axes.set_xlabel("ms", fontsize=8)
        tidy(axes, "x")
    _legend(made, [kind for kind in CLASSES if kind in used])
    return made


def waterfall(moved: Moved, documents: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the steps from A's time to B's, a class each; ``documents`` hold the two cells."""
    title = f"{_CALL[moved.phase]}, {moved.a.name}  →  {moved.b.name}"
    made = canvas(set_scene(documents), title, 4.9)
    axes = made.subplots()
    at = moved.a.wall_s * 1e3
    names = [moved.a.name, *moved.seconds, moved.b.name]
    axes.bar(0, at, 0.6, color=FAINT)
    for x, (kind, seconds) in enumerate(moved.seconds.items(), start=1):
        step = seconds * 1e3
        axes.bar(x, step, 0.6, bottom=at, color=COLOURS[kind], edgecolor=INK, linewidth=0.4)
        axes.plot([x - 0.7, x + 0.3], [at, at], color=FAINT, linewidth=0.6)
        told = f"{step:+.3g}" if abs(step) > _SEEN * moved.a.wall_s * 1e3 else "0"
        axes.annotate(told, (x, max(at, at + step)), xytext=(0, 3),
                      textcoords="offset points", ha="center", fontsize=7, color=INK)  # fmt: skip
        at += step
    axes.bar(len(names) - 1, moved.b.wall_s * 1e3, 0.6, color=FAINT)
    for x, side in ((0, moved.a), (len(names) - 1, moved.b)):
        axes.annotate(f"{side.wall_s * 1e3:.4g}", (x, side.wall_s * 1e3), xytext=(0, 3),
                      textcoords="offset points", ha="center", fontsize=8, color=INK)  # fmt: skip
    axes.set_xticks(range(len(names)), [name.replace("/", "\n") for name in names], fontsize=7)
    axes.set_ylabel("ms", fontsize=8)
    axes.margins(y=0.12)
    tidy(axes, "y")
    return made


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"


def _spans(profile: Profile) -> dict[str, tuple[str, pd.DataFrame, float, float]]:
    """Return what the timeline shows: title, events, begin and end, by phase."""
    events = device_events(profile)
    if (events["device"] == CPU).all():
        return {}
    found: dict[str, tuple[str, pd.DataFrame, float, float]] = {}
    for name in WALL:
        mine = events[events["phase"] == name]
        assert profile.ranges is not None  # noqa: S101  (its caller looked)
        calls = int((profile.ranges["phase"] == name).sum())
        if mine.empty or not calls:
            continue
        # Steps are alike: the last part of as many launches as one has.
        last = mine.tail(max(1, len(mine) // calls))
        before = events.iloc[: last.index[0]]
        entered = profile.ranges[profile.ranges["phase"] == name]["start_s"].min()
        first = before.empty or name == "prefill"
        begin_s = float(entered if first else (before["start_s"] + before["duration_s"]).max())
        end_s = float((last["start_s"] + last["duration_s"]).max())
        title = "prefill" if name == "prefill" else "the last decode step"
        found[name] = (title, last, begin_s, end_s)
    return found


def _bars(axes: Axes, events: pd.DataFrame, begin_s: float, end_s: float) -> set[str]:
    """Draw launches as bars by class; what is narrower than a pixel tints it, so gaps stay seen."""
    kinds = [kernel_class(str(name)) for name in events["name"]]
    starts = (events["start_s"].to_numpy() - begin_s) * 1e3
    lengths = events["duration_s"].to_numpy() * 1e3
    bars: dict[str, list[tuple[float, float]]] = {}
    for kind, start, length in zip(kinds, starts, lengths, strict=True):
        bars.setdefault(kind, []).append((start, length))
    for kind, mine in bars.items():
        axes.broken_barh(mine, (0, 1), color=COLOURS[kind], linewidth=0, snap=False)
    axes.set_xlim(0, (end_s - begin_s) * 1e3)
    return set(bars)


def _named(cell: Mapping[str, Any]) -> str:
    case = cell["case"]
    return (
        f"{case['backend']} {case['model']} {case['precision']} {case['attention']} "
        f"b{case['batch']} p{case['prompt_len']} n{case['new_tokens']}"
    )


def _legend(made: Figure, kinds: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    legend_below(made, [Patch(color=COLOURS[kind], label=kind) for kind in kinds])
