"""A result document as flat rows: one per cell, for CSV and for anybody's data frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.results.store import cells_of, section, synthetic, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CASE_FIELDS = (
    "backend", "model", "precision", "attention", "batch", "prompt_len", "new_tokens", "tp",
)  # fmt: skip
METRICS = (
    "ttft_s", "tpot_s", "e2e_s", "prefill_tokens_per_s", "decode_tokens_per_s",
    "output_tokens_per_s", "mfu", "mbu", "peak_allocated_bytes", "peak_reserved_bytes",
    "peak_device_bytes", "peak_rss_bytes", "energy_j_per_token", "load_s", "compile_s",
    "first_run_s",
)  # fmt: skip
ITL_QUANTILES = ("p50", "p90", "p99")
COLUMNS = (
    "cell", *CASE_FIELDS, "verdict", "reason", *METRICS,
    *(f"itl_{q}_s" for q in ITL_QUANTILES),
    "agreement", "relative_l2", "attention_prefill", "attention_decode",
    "forecast_total_bytes", "attempt", "machine_key", "commit_id", "seed", "synthetic",
)  # fmt: skip


def rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Flatten a document: one row per cell whatever its verdict; None where nothing was recorded.

    Units are those of the names: seconds, bytes, token/s; ``mfu`` and ``mbu`` are fractions.
    ``synthetic`` names what made the figures where nobody measured them.
    """
    shared = {
        "machine_key": section(document, "perfkit", "machine").get("key"),
        "commit_id": section(document, "commit_info").get("id"),
        "seed": section(document, "perfkit", "session").get("seed"),
        "synthetic": synthetic(document),
    }
    return [{**_row(name, cell), **shared} for name, cell in cells_of(document).items()]


def _row(name: str, cell: Mapping[str, Any]) -> dict[str, Any]:
    case = section(cell, "case")
    metrics = section(cell, "metrics")
    itl = section(cell, "quantiles", "itl_s")
    agreement = section(cell, "agreement")
    return {
        "cell": name,
        **{key: case.get(key) for key in CASE_FIELDS},
        "verdict": cell.get("verdict"),
        "reason": cell.get("reason"),
        **dict.fromkeys(METRICS),
        **metrics,
        **{f"itl_{q}_s": itl.get(q) for q in ITL_QUANTILES},
        "agreement": agreement.get("status"),
        "relative_l2": agreement.get("relative_l2"),
        "attention_prefill": section(cell, "attention", "prefill").get("class"),
        "attention_decode": section(cell, "attention", "decode").get("class"),
        "forecast_total_bytes": section(cell, "memory", "forecast").get("total_bytes"),
        "attempt": cell.get("attempt"),
    }


def write_csv(document: Mapping[str, Any], path: Path) -> None:
    """Write ``rows(document)`` as CSV to ``path``, whole or not at all; null is an empty field."""
    import pandas as pd

    flat = rows(document)
    extra = sorted({key for row in flat for key in row} - set(COLUMNS))
    # dtype=object keeps byte counts integers where another cell has null.
    table = pd.DataFrame(flat, columns=[*COLUMNS, *extra], dtype=object)
    write_whole(path, table.to_csv(index=False))
