"""How the runs themselves went, and how to make each row again."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from perfkit.machine.telemetry import throttle_names
from perfkit.reporting.page.blocks import Table
from perfkit.reporting.pooled import commit_of
from perfkit.reporting.tables import DASH, date_of, headline, short_id
from perfkit.results.store import cells_of, section

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from perfkit.reporting.page.gathering import Found

_HEADERS = (
    "file", "cell", "verdict", "SM clock MHz", "power W", "hottest °C", "throttle bits",
    "CPU wait %", "attempt", "warm-up", "placed",
)  # fmt: skip
_TEXTS = frozenset({"file", "cell", "verdict", "throttle bits", "warm-up", "placed"})
_OPTIONS = ("matrix", "rounds", "max-warmup", "seed", "device", "model")


def health(found: Iterable[Found]) -> Table:
    """Return a row a measured cell: clocks, throttling, temperature, tries; troubled ones first."""
    made = [
        (_trouble(cell), (one.path.name, short_id(name), str(cell["verdict"]), *_readings(cell)))
        for one in found for name, cell in cells_of(one.document).items()
    ]  # fmt: skip
    rows = [row for _, row in sorted(made, key=lambda pair: -pair[0])]
    caption = "Run health, cells that are not ok first (SM clock and power: least, median, most)"
    return Table(caption, _HEADERS, rows, _TEXTS)


def not_ok(found: Iterable[Found]) -> Table:
    """Return every cell that is not ok, and why."""
    rows = [
        (one.path.name, short_id(name), str(cell["verdict"]),
         str(cell.get("reason") or "no reason recorded"))
        for one in found for name, cell in cells_of(one.document).items() if cell["verdict"] != "ok"
    ]  # fmt: skip
    headers = ("file", "cell", "verdict", "reason")
    return Table("Cells that are not ok", headers, rows, frozenset(headers), folded=len(rows) > 12)


def sessions(found: Iterable[Found]) -> Table:
    """Return a row a file: machine, day, ceilings, commit and the recorded command."""
    rows = []
    for one in found:
        told = section(one.document, "perfkit", "session")
        warnings = told.get("warnings") or []
        missed = told.get("not_measured") or []
        rows.append((
            str(one.path), headline(one.document), date_of(one.document),
            commit_of(one.document),
            str(len(cells_of(one.document))), str(len(missed)), str(len(warnings)),
            str(told.get("command") or "not recorded"),
        ))  # fmt: skip
    headers = ("file", "measured on", "day", "commit", "cells", "not reached", "warnings",
               "recorded command")  # fmt: skip
    texts = frozenset({"file", "measured on", "day", "commit", "recorded command"})
    return Table("Files and sessions", headers, rows, texts)


def commands(found: Iterable[Found]) -> Table:
    """Return the command that measures each row again."""
    rows = [
        (short_id(name), one.path.name, command_of(one.document, name))
        for one in found
        for name in cells_of(one.document)
    ]
    headers = ("cell", "file", "command")
    return Table("To measure a row again", headers, rows, frozenset(headers))


def command_of(document: Mapping[str, Any], cell: str) -> str:
    """Return ``perfkit run`` with the options that the document's session recorded, for one cell.

    What the session does not tell is read from its command; a matrix file must still be there.
    """
    told = section(document, "perfkit", "session")
    recorded = _recorded(str(told.get("command") or ""))
    if matrices := told.get("matrices"):
        recorded["matrix"] = [str(one) for one in matrices]
    for option, key in (("rounds", "rounds"), ("max-warmup", "max_warmup"), ("seed", "seed")):
        if told.get(key) is not None:
            recorded[option] = [str(told[key])]
    device = told.get("device") or next(iter(recorded["device"]), None)
    recorded["device"] = ["gpu" if device == "cuda" else str(device)] if device else []
    words = ["perfkit", "run"]
    for option in _OPTIONS:
        for value in recorded[option]:
            words += [f"--{option}", value]
    return shlex.join([*words, "--case", cell])


def _recorded(command: str) -> dict[str, list[str]]:
    """Return the options of a recorded pytest command that perfkit run has too."""
    return {
        option: re.findall(rf"(?:^|\s)--perfkit-{option}[= ](\S+)", command) for option in _OPTIONS
    }


def _trouble(cell: Mapping[str, Any]) -> int:
    """Rank a cell: not ok before measured again before throttled bits before the others."""
    bits = section(cell, "telemetry").get("throttle_bits") or 0
    again = (cell.get("attempt") or 1) > 1
    return 4 * int(cell["verdict"] != "ok") + 2 * int(again) + int(bool(bits))


def _readings(cell: Mapping[str, Any]) -> Sequence[str]:
    told = section(cell, "telemetry")
    bits = told.get("throttle_bits")
    waited = told.get("cpu_wait_share")
    warm = section(cell, "warmup")
    placed = section(cell, "placed")
    return (
        _span(told.get("sm_clock_mhz")),
        _span(told.get("power_w")),
        _text(told.get("temperature_c_max")),
        DASH if bits is None else ", ".join(throttle_names(int(bits))) or "none",
        DASH if waited is None else f"{100 * waited:.1f}",
        _text(cell.get("attempt")),
        _warmed(warm),
        " ".join(f"{key} {value}" for key, value in placed.items()) or DASH,
    )


def _warmed(warm: Mapping[str, Any]) -> str:
    if "steady" not in warm:
        return DASH
    rounds = f"{warm.get('rounds', '?')} rounds"
    return f"steady after {rounds}" if warm["steady"] else f"not steady: cap of {rounds} hit"


def _span(values: Any) -> str:
    return DASH if not values else " / ".join(f"{value:.0f}" for value in values)


def _text(value: Any) -> str:
    return DASH if value is None else str(value)
