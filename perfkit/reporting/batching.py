"""Pictures of a batching sweep, drawn from its table: latency over rate, p99 by delay and batch."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING, Any

from perfkit.errors import UsageError
from perfkit.reporting.drawing import FAINT, INK, blank, tidy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NEEDED = {"policy", "max_batch", "delay_us", "rate", "rho", "lat_p99", "p99_ci", "stable"}
_SIZES = {"policy", "max_batch", "delay_us", "rho", "size", "share"}
# Okabe and Ito's colours, which colour-blind people tell apart.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
_DASHES = ("-", "--", ":", "-.")
_MS = 1e3


def read(path: Path) -> pd.DataFrame:
    """Read a sweep's CSV. Raises UsageError for a file that is none."""
    return _read(path, _NEEDED)


def sizes(path: Path) -> pd.DataFrame:
    """Read the table of batch sizes beside a sweep's. Raises UsageError for a file that is none."""
    return _read(path, _SIZES)


def _read(path: Path, needed: set[str]) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path} as a batching sweep: {error}") from None
    missing = sorted(needed - set(frame.columns))
    if missing or frame.empty:
        raise UsageError(f"{path} is no batching sweep: it lacks {', '.join(missing) or 'rows'}")
    return frame


def figures(frame: pd.DataFrame, batches: Path) -> dict[str, Figure]:
    """Return the pictures by file stem, unsaved; ``batches`` is the file of batch sizes, if any.

    Points without p99 are left out. The map and the batch sizes are of dynamic batching at shares
    of saturation, which closed loops and traces do not have.
    """
    frame = frame.dropna(subset=["lat_p99"])
    if frame.empty:
        return {}
    shown = {"dyn_batch_latency": latency(frame)}
    if (frame["policy"] == "dynamic").any() and not frame["arrival"].isin(
        ["closed", "trace"]
    ).any():
        shown["dyn_batch_p99"] = heat_map(frame)
        if batches.is_file():
            shown["dyn_batch_sizes"] = histogram(frame, sizes(batches))
    return shown


def latency(frame: pd.DataFrame) -> Figure:
    """p99 latency over the rate, a panel a largest batch, a line a policy and delay.

    Hollow marks: 98 % of saturation or more, where the figure grows with the run.
    """
    batches = sorted(frame.loc[frame["policy"] != "one-by-one", "max_batch"].unique()) or [1]
    styles = _styles([label for label, _ in _lines(frame)])
    figure = _figure("p99 latency over the rate of requests", 3.6, frame)
    panels = figure.subplots(1, len(batches), squeeze=False, sharey=True)[0]
    shown: dict[str, Any] = {}
    for axes, most in zip(panels, batches, strict=True):
        tidy(axes, "both")
        mine = frame[(frame["max_batch"] == most) | (frame["policy"] == "one-by-one")]
        for label, line in _lines(mine):
            colour, dashes = styles[label]
            p99, half = line["lat_p99"] * _MS, line["p99_ci"] * _MS
            drawn = axes.errorbar(
                line["rate"],
                p99,
                yerr=half,
                color=colour,
                linestyle=dashes,
                linewidth=1.2,
                capsize=2,
                zorder=2,
            )
            for steady, face in ((True, colour), (False, "white")):
                some = line["stable"].ne(False) == steady  # nothing is said of a trace
                axes.plot(line["rate"][some], p99[some], "o", color=colour, markerfacecolor=face,
                          markersize=4, zorder=3)  # fmt: skip
            shown.setdefault(label, drawn)
        axes.set_title(f"at most {most} together", fontsize=10, loc="left", color=INK)
        _log_axes(axes)
        axes.set_xlabel("requests per second, log axis", fontsize=8)
    panels[0].set_ylabel("p99 latency (ms), log axis", fontsize=8)
    _legend(figure, shown)
    return figure


def _log_axes(axes: Axes) -> None:
    """Make both axes logarithmic, with numbers that people read at 1, 2 and 5."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def heat_map(frame: pd.DataFrame) -> Figure:
    """p99 latency of the dynamic policy by delay and largest batch, a panel a load."""
    from matplotlib.colors import LogNorm

    dynamic = frame[frame["policy"] == "dynamic"]
    loads = sorted(dynamic["rho"].round(3).unique())
    figure = _figure("p99 latency of dynamic batching, by delay and largest batch", 3.4, frame)
    panels = figure.subplots(1, len(loads), squeeze=False, sharey=True)[0]
    scale = LogNorm(dynamic["lat_p99"].min() * _MS, dynamic["lat_p99"].max() * _MS)
    for axes, load in zip(panels, loads, strict=True):
        some = dynamic[dynamic["rho"].round(3) == load]
        grid = some.pivot_table(index="delay_us", columns="max_batch", values="lat_p99") * _MS
        axes.imshow(grid, norm=scale, cmap="cividis", aspect="auto")
        axes.set_xticks(range(grid.shape[1]), grid.columns, fontsize=8)
        axes.set_yticks(range(grid.shape[0]), [f"{delay / 1e3:g}" for delay in grid.index],
                        fontsize=8)  # fmt: skip
        for y, x in ((y, x) for y in range(grid.shape[0]) for x in range(grid.shape[1])):
            value = grid.iloc[y, x]
            colour = "black" if scale(value) > 0.6 else "white"
            words = f"{float(f'{value:.3g}'):,g}"
            axes.text(x, y, words, ha="center", va="center", fontsize=8, color=colour)
        axes.set_title(f"{load:.0%} of saturation", fontsize=10, loc="left", color=INK)
        axes.set_xlabel("at most together", fontsize=8)
    panels[0].set_ylabel("delay (ms)", fontsize=8)
    figure.text(0.995, 0.005, "p99 in ms", ha="right", fontsize=7, color=FAINT)
    return figure


def histogram(frame: pd.DataFrame, batches: pd.DataFrame) -> Figure:
    """How large the batches of the dynamic policy are: the largest batch, a panel a load."""
    mine = batches[batches["policy"] == "dynamic"]
    most = mine["max_batch"].max()
    mine = mine[mine["max_batch"] == most]
    loads = sorted(mine["rho"].round(3).unique())
    styles = _styles(sorted(mine["delay_us"].unique()))
    figure = _figure(f"How many requests a batch of at most {most} holds", 3.4, frame)
    panels = figure.subplots(1, len(loads), squeeze=False, sharey=True)[0]
    shown: dict[str, Any] = {}
    for axes, load in zip(panels, loads, strict=True):
        tidy(axes, "y")
        some = mine[mine["rho"].round(3) == load]
        for delay, line in some.groupby("delay_us"):
            colour, dashes = styles[delay]
            (drawn,) = axes.step(
                line["size"], line["share"] * 100, where="mid", color=colour, linestyle=dashes,
                linewidth=1.2,
            )  # fmt: skip
            shown.setdefault(f"delay {delay / 1e3:g} ms", drawn)
        axes.set_title(f"{load:.0%} of saturation", fontsize=10, loc="left", color=INK)
        axes.set_xlabel("requests in a batch", fontsize=8)
    panels[0].set_ylabel("share of batches (%)", fontsize=8)
    _legend(figure, shown)
    return figure


def _styles(lines: Sequence[Any]) -> dict[Any, tuple[str, str]]:
    """Return a colour and dashes for each line; dashes tell lines of one colour apart."""
    looks = itertools.cycle((colour, dash) for dash in _DASHES for colour in _COLOURS)
    return dict(zip(dict.fromkeys(lines), looks, strict=False))


def _lines(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return a label and its rows by rate, for each policy and delay."""
    found = []
    for (policy, delay), line in frame.groupby(["policy", "delay_us"], dropna=False):
        label = f"dynamic, {delay / 1e3:g} ms" if policy == "dynamic" else str(policy)
        found.append((label, line.sort_values("rate")))
    return found


def _legend(figure: Figure, shown: Mapping[str, Any]) -> None:
    figure.legend(
        shown.values(), shown.keys(), loc="outside lower center", ncols=min(6, len(shown)),
        fontsize=8, frameon=False,
    )  # fmt: skip


def _figure(what: str, height_in: float, frame: pd.DataFrame) -> Figure:
    come = {"closed": "a closed loop", "trace": "a trace"}
    arrival = frame["arrival"].iloc[0]
    models = frame["service_model"].unique()
    service = models[0] if len(models) == 1 else "several models, see the table"
    about = f"{come.get(arrival, f'{arrival} arrivals')}  |  service: {service}  |  simulated"
    lines = [what, *textwrap.wrap(about, 110)]  # else a fit's arm and machine run over the edges
    return blank(height_in, "\n".join(lines))
