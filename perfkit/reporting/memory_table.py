"""Where the memory of each cell went: the forecast beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfkit.reporting.mark import MARK_STYLE, mark_of
from perfkit.reporting.tables import DASH, GIB, gib, named, verdict_words
from perfkit.results.record import DOUBTFUL
from perfkit.results.store import cells_of, section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

_HEADERS = (
    "weights\nforecast", "weights\nmeasured", "KV\n", "activ.\nforecast", "activ.\nmeasured",
    "work-\nspace", "total\nforecast", "alloc.\npeak", "reserved\npeak", "NVML\npeak",
)  # fmt: skip
_NOTES = (
    "All in GiB. KV: of P + N tokens, exact by its shape, so forecast and measured alike.",
    "activ. measured: alloc. peak less measured weights and KV; too low where the peak is early,",
    "in the prefill, before all KV is there.",
    "workspace: NVML peak less alloc. peak: what the allocator keeps, CUDA context, libraries;",
    "of TensorRT-LLM, where torch counts nothing, what its log names, as its weights and KV pool.",
    "error: (total forecast - alloc. peak) / alloc. peak.",
)
_CPU_NOTE = "RSS peak: of the whole process, where torch counts nothing, as on a CPU."


@dataclass(frozen=True)
class Account:
    """A cell's memory in bytes, None for what is not known; peaks are of the timed rounds.

    ``weights`` are what torch had allocated once the engine was built.
    """

    forecast_weights: int | None
    kv: int | None
    forecast_activations: int | None
    forecast_total: int | None
    weights: int | None
    allocated: int | None
    reserved: int | None
    device: int | None
    rss: int | None
    told_workspace: int | None = None

    @property
    def activations(self) -> int | None:
        """Allocated peak less measured weights and KV."""
        if self.allocated is None or self.weights is None or self.kv is None:
            return None
        return self.allocated - self.weights - self.kv

    @property
    def workspace(self) -> int | None:
        """What the device holds beside torch's tensors: NVML's peak less the allocated one."""
        if self.device is None or self.allocated is None:
            return self.told_workspace
        return self.device - self.allocated

    @property
    def error(self) -> float | None:
        """(forecast - allocated peak) / allocated peak, a fraction."""
        if self.forecast_total is None or not self.allocated:
            return None
        return self.forecast_total / self.allocated - 1


def account(cell: Mapping[str, Any]) -> Account:
    """Return a cell's memory; peaks only of a verdict with figures, RSS only for want of others."""
    forecast = section(cell, "memory", "forecast")
    timed = cell.get("verdict") == "ok" or cell.get("verdict") in DOUBTFUL
    peaks = section(cell, "metrics") if timed else {}
    allocated = peaks.get("peak_allocated_bytes")
    told = section(cell, "memory")
    apart = "device_before_bytes" in told
    return Account(
        forecast_weights=forecast.get("weights_bytes"),
        kv=told.get("kv_bytes") or forecast.get("kv_bytes"),
        forecast_activations=forecast.get("activation_bytes"),
        forecast_total=forecast.get("total_bytes"),
        weights=told.get("weights_bytes"),
        allocated=allocated,
        reserved=peaks.get("peak_reserved_bytes"),
        device=peaks.get("peak_device_bytes"),
        # An engine's own processes hold its memory, and this one's tells nothing of it.
        rss=peaks.get("peak_rss_bytes") if allocated is None and not apart else None,
        told_workspace=told.get("workspace_bytes"),
    )


def memory_table(document: Mapping[str, Any]) -> Table:
    """Return a row per cell, none left out, in GiB; a dash for what is not known."""
    from rich import box
    from rich.table import Table

    cells = cells_of(document)
    accounts = {name: account(cell) for name, cell in cells.items()}
    with_rss = any(one.rss is not None for one in accounts.values())
    notes = (*_NOTES, _CPU_NOTE) if with_rss else _NOTES
    table = Table(
        box=box.SIMPLE_HEAD, padding=0, show_edge=False, caption="\n".join(notes),
        caption_justify="left", title=mark_of([document]), title_style=MARK_STYLE,
        title_justify="left",
    )  # fmt: skip
    table.add_column("cell\nreason", overflow="fold")
    table.add_column("verdict\n", no_wrap=True)
    for header in (*_HEADERS, *(["RSS\npeak"] if with_rss else []), "error\n%"):
        table.add_column(header, justify="right", no_wrap=True)
    for name, cell in cells.items():
        sizes = _sizes(accounts[name], with_rss=with_rss)
        table.add_row(named(name, cell), verdict_words(cell), *sizes)
    return table


def _sizes(one: Account, *, with_rss: bool) -> list[str]:
    sizes = [
        one.forecast_weights, one.weights, one.kv, one.forecast_activations, one.activations,
        one.workspace, one.forecast_total, one.allocated, one.reserved, one.device,
    ]  # fmt: skip
    if with_rss:
        sizes.append(one.rss)
    words = [DASH if size is None else gib(size / GIB) for size in sizes]
    return [*words, DASH if one.error is None else f"{one.error:+.1%}".removesuffix("%")]
