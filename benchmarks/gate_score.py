"""Score gates on the runs of gate_traces.py: the tables of docs/regression-gate.md.

    python benchmarks/gate_score.py TRACES.jsonl OUT.json [--trials 400] [--baseline FOLDER]

Unchanged runs are split by time: a baseline is drawn from the first half, new runs from the second
(``blocked``), or both from the second (``scattered``). With --baseline all are new, and held
against that stored set of runs (``stored``). A build is one matrix; for lone regressions
one cell of it, by turns, comes from runs with more work. Builds are resampled from the runs there
are, so each rate stands beside the Wilson interval of as many builds as there were independent new
runs.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy import stats

from perfkit.gating.baseline import load_whole
from perfkit.gating.session import against_baseline
from perfkit.results import store
from perfkit.results.gate import REGRESSED, Rule
from perfkit.results.outcome import Asked
from perfkit.results.runs import METRICS, RunSet
from perfkit.results.store import cells_of

Document = dict[str, Any]
SCREENING, CONFIRMING = 5, 10
# Looks at the rounds of one stored and one new run of a cell: did it get worse?
Rival = Callable[[Sequence[float], Sequence[float]], bool]


def over(statistic: Callable[[Sequence[float]], float], limit: float) -> Rival:
    """Return pytest-benchmark's --benchmark-compare-fail rule."""
    return lambda old, new: statistic(new) / statistic(old) - 1 > limit


def google(old: Sequence[float], new: Sequence[float]) -> bool:
    """Judge as google/benchmark's compare.py: two-sided U test on repetitions, 5 %."""
    worse = statistics.median(new) > statistics.median(old)
    return worse and stats.mannwhitneyu(new, old).pvalue < 0.05


def asv(old: Sequence[float], new: Sequence[float]) -> bool:
    """Judge as asv: U test at 0.002 and a factor of 1.1."""
    factor = statistics.median(new) / statistics.median(old)
    return factor > 1.1 and stats.mannwhitneyu(new, old).pvalue < 0.002


STATISTICS = {"mean": statistics.fmean, "median": statistics.median, "min": min}
RIVALS: dict[str, Rival] = {
    **{
        f"compare-fail {name}:{limit:.0%}": over(statistic, limit)
        for limit in (0.05, 0.10)
        for name, statistic in STATISTICS.items()
    },
    "google/benchmark: U test on rounds, p < 0.05": google,
    "asv: U test on rounds, p < 0.002, and 1.1 x": asv,
}


def read(path: Path) -> dict[str, list[Document]]:
    """Return the runs by arm, each in the order they were made."""
    arms: dict[str, list[Document]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        block = json.loads(line)
        arms.setdefault(block.pop("arm"), []).append({"perfkit": block})
    for runs in arms.values():
        runs.sort(key=started)
    return arms


def started(run: Document) -> str:
    """Return when a run began."""
    found: str = run["perfkit"]["session"]["started"]
    return found


def with_cell(run: Document, cell: str, other: Document) -> Document:
    """Return a run in which one cell comes from another run."""
    made = copy.copy(run)
    made["perfkit"] = {**run["perfkit"], "cells": {**cells_of(run), cell: cells_of(other)[cell]}}
    return made


@dataclass(frozen=True)
class Runs:
    """The unchanged runs of a scheme by time: those that are stored, and those that may be new.

    Of a set that was recorded as one, the first five screen.
    """

    scheme: str
    first: tuple[Document, ...]
    second: tuple[Document, ...]

    @classmethod
    def split(cls, scheme: str, same: Sequence[Document], baseline: Sequence[Document]) -> Runs:
        """Split the unchanged runs as the scheme asks."""
        if scheme == "stored":
            return cls(scheme, tuple(baseline), tuple(same))
        half = 0 if scheme == "resampled" else len(same) // 2
        return cls(scheme, tuple(same[:half]), tuple(same[half:]))

    @property
    def in_time(self) -> bool:
        """Whether new runs come after all stored ones."""
        return self.scheme in ("blocked", "stored")

    def draws(self, seed: int) -> Iterator[tuple[list[Document], list[Document]]]:
        """Yield builds without end: 15 stored runs and new ones, no run in both."""
        chance = random.Random(seed)  # noqa: S311  (resampling)
        need = SCREENING + CONFIRMING
        while True:
            new = chance.sample(self.second, len(self.second))
            if self.scheme == "stored":
                screening = chance.sample(self.first[:SCREENING], SCREENING)
                yield [*screening, *self.first[SCREENING:]], new
            elif self.scheme == "blocked":
                yield chance.sample(self.first, need), new
            else:
                yield new[:need], new[need:]


def gate_once(
    stored: Sequence[Document], new: Sequence[Document], cells: Sequence[str], rule: Rule
) -> tuple[int, set[str], float]:
    """Return our gate's exit code, the cells it calls REGRESSED, and the runs a cell it took."""
    left = iter(new)
    found = against_baseline(
        Asked(tuple(cells), METRICS, rule),
        RunSet(tuple(stored[:SCREENING]), tuple(stored[SCREENING:])),
        lambda asked: _part(next(left, None), asked),
        lambda _: None,
    )
    red = {one.cell for one in found.judgements if one.verdict == REGRESSED}
    return found.exit_code, red, found.cell_runs / len(cells)


def _part(run: Document | None, cells: Sequence[str]) -> Document | None:
    """Return a run of some cells alone, as a confirming run is."""
    if run is None:
        return None
    kept = {cell: cells_of(run)[cell] for cell in cells}
    return {**run, "perfkit": {**run["perfkit"], "cells": kept}}


def rounds(run: Document, cell: str) -> list[float]:
    """Return what pytest-benchmark holds of a cell: the seconds of its rounds."""
    found: list[float] = cells_of(run)[cell]["samples"]["device_s"]
    return found


def rate(hits: int, trials: int, independent: int) -> dict[str, float]:
    """Return a rate with the Wilson interval of the independent runs behind it."""
    share = hits / trials
    test = stats.binomtest(round(share * independent), independent)
    ends = test.proportion_ci(method="wilson")
    return {"rate": share, "low": float(ends.low), "high": float(ends.high), "runs": independent}


def score(runs: Runs, more: dict[str, list[Document]], trials: int, rule: Rule) -> dict[str, Any]:
    """Return red builds with nothing wrong, and lone regressions found, of our gate and rivals."""
    cells = sorted(cells_of(runs.second[0]))
    independent = len(runs.second)
    ours = {"red": 0, "invalid": 0, "inconclusive": 0, "false cells": 0, "cost": 0.0}
    rivals = {name: {"red": 0, "false cells": 0} for name in RIVALS}
    highest: dict[str, list[float]] = {name: [] for name in STATISTICS}
    for stored, new in itertools.islice(runs.draws(seed=1), trials):
        code, red, cost = gate_once(stored, new, cells, rule)
        ours["red"] += bool(red)
        ours["false cells"] += len(red)
        ours["invalid"] += code == 3
        ours["inconclusive"] += code == 4
        ours["cost"] += cost
        for name, rival in RIVALS.items():
            flagged = sum(rival(rounds(stored[0], cell), rounds(new[0], cell)) for cell in cells)
            rivals[name]["red"] += bool(flagged)
            rivals[name]["false cells"] += flagged
        for name, statistic in STATISTICS.items():
            highest[name].append(max(
                statistic(rounds(new[0], cell)) / statistic(rounds(stored[0], cell)) - 1
                for cell in cells
            ))  # fmt: skip
    # A threshold at which a rival's builds are red as often as ours, 5 % at least.
    allowed = max(0.05, ours["red"] / trials)
    equal = {
        f"compare-fail {name} at equal red builds": sorted(values)[
            min(trials - 1, int((1 - allowed) * trials))
        ]
        for name, values in highest.items()
    }
    names = {f"{name} ({limit:.1%})": over(STATISTICS[name.split()[1]], limit)
             for name, limit in equal.items()}  # fmt: skip
    lone = {
        arm: lone_regressions(runs, changed, trials, rule, RIVALS | names)
        for arm, changed in more.items()
    }
    return {
        "scheme": runs.scheme,
        "trials": trials,
        "unchanged": {
            "perfkit gate": {
                "red builds": rate(ours["red"], trials, independent),
                "false cells": ours["false cells"] / trials / len(cells),
                "INVALID": rate(ours["invalid"], trials, independent),
                "INCONCLUSIVE": rate(ours["inconclusive"], trials, independent),
                "runs a cell": ours["cost"] / trials,
            },
            **{
                name: {
                    "red builds": rate(found["red"], trials, independent),
                    "false cells": found["false cells"] / trials / len(cells),
                }
                for name, found in rivals.items()
            },
        },
        "lone": lone,
    }


def lone_regressions(
    runs: Runs, more: list[Document], trials: int, rule: Rule, rivals: dict[str, Rival]
) -> dict[str, Any]:
    """Return how often one changed cell of a build is found, by each gate."""
    cells = sorted(cells_of(runs.second[0]))
    chance = random.Random(3)  # noqa: S311  (resampling)
    if runs.in_time:
        # New runs come after the baseline's, changed ones too.
        last = max(map(started, runs.first))
        more = [run for run in more if started(run) > last]
    found = dict.fromkeys(("perfkit gate", *rivals), 0)
    judged, by_cell = 0, {cell: [0, 0] for cell in cells}
    builds = itertools.islice(runs.draws(seed=2), trials)
    for trial, (stored, new) in enumerate(builds):
        cell = cells[trial % len(cells)]
        slow = chance.sample(more, len(more))
        changed = [with_cell(run, cell, other) for run, other in zip(new, slow, strict=False)]
        code, red, _ = gate_once(stored, changed, cells, rule)
        judged += code != 3
        found["perfkit gate"] += cell in red
        by_cell[cell][0] += cell in red
        by_cell[cell][1] += 1
        for name, rival in rivals.items():
            found[name] += rival(rounds(stored[0], cell), rounds(changed[0], cell))
    rates = {name: rate(hits, trials, len(more)) for name, hits in found.items()}
    valid = rate(found["perfkit gate"], judged, len(more)) if judged else None
    shares = {cell: hits / count for cell, (hits, count) in by_cell.items()}
    return {"found": rates, "found where not INVALID": valid, "by cell": shares}


def beside_neighbour(
    same: list[Document], disturbed: list[Document], rule: Rule
) -> dict[str, dict[str, int]]:
    """Return what every gate says of unchanged runs beside a busy neighbour, each run once.

    The baseline is the first fifteen undisturbed runs; ours may make an invalid run again, with the
    next disturbed one.
    """
    stored = same[: SCREENING + CONFIRMING]
    cells = sorted(cells_of(same[0]))
    codes: Counter[str] = Counter()
    for k in range(len(disturbed)):
        code, _, _ = gate_once(stored, disturbed[k:] + disturbed[:k], cells, rule)
        codes[{0: "green", 1: "red", 3: "INVALID", 4: "INCONCLUSIVE"}[code]] += 1
    found = {"perfkit gate": dict(codes)}
    for name, rival in RIVALS.items():
        red = sum(
            any(rival(rounds(stored[0], cell), rounds(run, cell)) for cell in cells)
            for run in disturbed
        )
        found[name] = {"red": red, "green": len(disturbed) - red}
    return found


def tune(same: list[Document], trials: int) -> tuple[Rule, list[dict[str, float]]]:
    """Return the rule with the smallest share that keeps to 2 runs a cell on the tuning half.

    A smaller share finds more, and costs more runs.
    """
    cells = sorted(cells_of(same[0]))
    tried = []
    for share in (0.25, 0.5, 0.75, 1.0):
        chance, rule = random.Random(4), Rule(share=share)  # noqa: S311  (resampling)
        cost = []
        for _ in range(trials):
            drawn = chance.sample(same, len(same))
            need = SCREENING + CONFIRMING
            cost.append(gate_once(drawn[:need], drawn[need:], cells, rule)[2])
        tried.append({"share": share, "runs a cell": statistics.fmean(cost)})
    kept = [one["share"] for one in tried if one["runs a cell"] < 2]
    return Rule(share=min(kept, default=1.0)), tried


def spreads(same: list[Document]) -> dict[str, dict[str, float]]:
    """Return each cell's spread of rounds in a run, and of runs, by statistic, in percent."""

    def varies(values: Sequence[float]) -> float:
        return 100 * statistics.stdev(values) / statistics.fmean(values)

    made = {}
    for cell in sorted(cells_of(same[0])):
        all_rounds = [rounds(run, cell) for run in same]
        made[cell] = {
            "rounds": statistics.median(map(varies, all_rounds)),
            **{name: varies([f(one) for one in all_rounds]) for name, f in STATISTICS.items()},
        }
    return made


def tables(found: dict[str, Any]) -> str:
    """Return the score as the Markdown tables of docs/regression-gate.md."""
    lines = ["| cell | rounds of a run, CV % | runs: mean | runs: median | runs: min |"]
    lines.append("|---|---|---|---|---|")
    for cell, one in found["spread of runs in percent"].items():
        values = " | ".join(f"{one[name]:.1f}" for name in ("rounds", "mean", "median", "min"))
        lines.append(f"| {cell} | {values} |")
    for scheme in found["schemes"]:
        lines += ["", f"### {scheme['scheme']}, {scheme['trials']} builds", ""]
        head = ["gate", "red builds, nothing wrong", "false cells"]
        head += [f"lone {arm} found" for arm in scheme["lone"]]
        lines += [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        first = next(iter(scheme["lone"].values()))
        names = dict.fromkeys([*scheme["unchanged"], *first["found"]])
        for name in names:
            quiet = scheme["unchanged"].get(name, {})
            false = quiet.get("false cells")
            lones = [told(scheme["lone"][arm]["found"][name]) for arm in scheme["lone"]]
            red = told(quiet["red builds"]) if quiet else "as ours"
            shown = "" if false is None else f"{false:.1%}"
            lines.append(f"| {name} | {red} | {shown} | {' | '.join(lones)} |")
        ours = scheme["unchanged"]["perfkit gate"]
        valid = first["found where not INVALID"]
        alone = told(valid) if valid else "never valid"
        invalid, unsure = (told(ours[name]) for name in ("INVALID", "INCONCLUSIVE"))
        lines += ["", f"perfkit gate: INVALID {invalid}, INCONCLUSIVE {unsure}, "]
        lines[-1] += f"{ours['runs a cell']:.2f} runs a cell; the first found where not INVALID: "
        lines[-1] += f"{alone}."
    if found["neighbour"]:
        lines += ["", "| gate | unchanged runs beside a busy neighbour |", "|---|---|"]
    for name, codes in found["neighbour"].items():
        told_codes = ", ".join(f"{count} {code}" for code, count in codes.items() if count)
        lines.append(f"| {name} | {told_codes} |")
    return "\n".join([*lines, ""])


def told(one: dict[str, float]) -> str:
    """Return a rate with its Wilson interval and the independent runs behind it."""
    low, high = f"{100 * one['low']:.0f}", f"{100 * one['high']:.0f}"
    return f"{one['rate']:.1%} ({low} to {high}; {one['runs']:.0f} runs)"


def main() -> None:
    """Score both schemes, write the JSON and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--baseline", type=Path, help="a stored set of runs, to hold all against")
    asked = parser.parse_args()
    arms = read(asked.traces)
    same = arms["same"]
    more = {arm: arms[arm] for arm in ("plus5", "plus10") if arm in arms}
    baseline = load_whole(asked.baseline).runs if asked.baseline else ()
    # Too few runs to split by time: resampled from all of them. Nothing is tuned then.
    few = len(same) < 2 * (SCREENING + CONFIRMING) + 2
    untuned = bool(baseline) or few
    rule, tuned = (Rule(), []) if untuned else tune(same[: len(same) // 2], asked.trials // 4)
    schemes = ("stored",) if baseline else ("resampled",) if few else ("scattered", "blocked")
    disturbed = arms.get("neighbour", [])
    found = {
        "machine": same[0]["perfkit"]["machine"],
        "runs": {"same": len(same), **{arm: len(runs) for arm, runs in more.items()}},
        "first": same[0]["perfkit"]["session"]["started"],
        "last": same[-1]["perfkit"]["session"]["started"],
        "rule": asdict(rule),
        "tuning": tuned,
        "spread of runs in percent": spreads(same),
        "neighbour": beside_neighbour(same, disturbed, rule) if disturbed else {},
        "schemes": [
            score(Runs.split(scheme, same, baseline), more, asked.trials, rule)
            for scheme in schemes
        ],
    }
    store.write_whole(asked.out, json.dumps(found, indent=1))
    print(tables(found))  # noqa: T201


if __name__ == "__main__":
    main()
