"""A validation's table: what was measured and what the simulator said, a line a load and metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.batching.server.document import Document

_NAMES = {"wait_s": "wait", "ttft_s": "TTFT", "tpot_s": "TPOT", "e2e_s": "e2e"}
_HEAD = [
    "load",
    "figure",
    "measured",
    "predicted",
    "error",
    "p50",
    "p90",
    "p99",
    "fit",
    "first",
    "own",
]
_LINE = "{:>5} {:9} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}"


def lines(compared: list[Document]) -> Iterator[str]:
    """Yield the table: means in ms and relative errors, those of quantiles too.

    The last columns are errors of the mean by other service times than the load's calibration:
    the fit to it, the first load's calibration, and the replay's own, which is no prediction.
    """
    yield _LINE.format(*_HEAD)
    for one in compared:
        table = one["table"]
        for name, words in _NAMES.items():
            errors = table["error"][name]
            if errors is None:
                continue
            others = (one[by].get("error", {}).get(name) for by in ("fit", "first", "own"))
            yield _LINE.format(
                f"{one['load']:g}", words, _ms(one["measured"][name]["mean"]),
                _ms(table["predicted"][name]["mean"]),
                *(_share(errors[key]) for key in ("mean", "p50", "p90", "p99")),
                *(_share(other and other["mean"]) for other in others),
            )  # fmt: skip
        service = one["service"]
        if service["batches"]:
            figures = (
                _ms(service["measured_s"]),
                _ms(service["table_s"]),
                _share(service["error"]),
            )
            yield _LINE.format(f"{one['load']:g}", "a batch", *figures, *[""] * 6).rstrip()
        yield f"{'':5} {_counts(one)}"
    for reason in dict.fromkeys(one["fit"]["absent"] for one in compared if "absent" in one["fit"]):
        yield f"no fit: {reason}"


def _counts(one: Document) -> str:
    sides = one["measured"], one["table"]["predicted"]
    means = " and ".join(f"{side['mean_batch'] or 0:.2f}" for side in sides)
    counted = [", ".join(f"{n} {name}" for name, n in side["outcomes"].items()) for side in sides]
    said = counted[0] if counted[0] == counted[1] else f"{counted[0]} (predicted {counted[1]})"
    late = f"requests were sent up to {one['sent_late_s'] * 1e3:.2f} ms late"
    return f"{said}; requests a batch: {means}; {late}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2%}"
