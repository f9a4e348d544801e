"""What the sections of a report say of their pictures and tables."""

from __future__ import annotations

VERDICTS = (
    "Effect: output throughput over that of eager PyTorch without fused attention, of the same "
    "model, precision and shape in the same session; only where both are ok and outputs agree. "
    "Largest effect first, whatever its sign."
)
OVER_RUNS = (
    "Figures are medians over the runs that are ok (where none is, over those that were timed), "
    "with Student's 95 % interval over runs below."
)
ONE_RUN = "One run of each cell: no interval over runs."
GATE = "Each figure of this version against the accepted baseline, worst change first."
LATENCY = (
    "Every sample of a run, none deleted; of cells measured more than once the latest. p90 needs "
    "10 samples and p99 needs 100, else there is a dash."
)
PARETO = (
    "What throughput each arm gives within what time. Grey: another cell of the same machine, "
    "model and lengths is no slower and gives no less. Hollow: its verdict forbids a comparison, "
    "and it beats none. Lines join fronts: of a machine in the interactive chart, of each arm in "
    "the static picture."
)
ROOFLINE = (
    "Each phase's rate over the FLOP that it needs a byte at least, counted from the model's "
    "shape. The ceilings were measured beside the cells, not taken from a data sheet. Hollow: "
    "timed, but its verdict forbids a comparison."
)
NO_ROOF = "No ceilings were measured: no roofline is drawn."
MEMORY = (
    "The forecast is made from the model's shape before anything runs. Device: what the driver "
    "counted, or where there is no GPU, the process's resident memory."
)
ABLATION = (
    "Fused attention against the same case without it, paired within a run: the median over runs, "
    "and Student's 95 % interval where there are two or more. Of several runs those whose rounds "
    "vary (unstable) count too, since the interval is over runs; the verdicts above leave them "
    "out. An interactive chart leaves refused pairs to the table, and cuts an interval that is "
    "much longer than the changes."
)
KERNELS = (
    "Time by kernel class, from a profile of one prefill and one decode step taken after the "
    "timed rounds."
)
HEALTH = (
    "Throttled means thermal or hardware bits; the software power cap is normal under large GEMMs "
    "and only recorded."
)
AGAIN = (
    "The options that each file's session recorded, for one cell. A matrix that is a file must be "
    "where it was."
)
ACROSS = (
    "Files of {} machines, shown beside each other; no ratio and no verdict goes across them: {}."
)
SILENT = "{}: {} cells with figures have no samples: no line is drawn of them."
