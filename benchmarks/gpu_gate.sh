#!/usr/bin/env bash
# On a GPU: a baseline of 15 runs of gate-gpu, the FMHA ablation over 4 runs, and a pilot of the gate's
# error rates (22 unchanged runs, 7 with one layer more). About 22 minutes on an H100; run it again to go
# on where it stopped. Each part keeps within SECONDS in all.
#   benchmarks/gpu_gate.sh OUT [SECONDS]
set -uo pipefail
out=${1:?usage: gpu_gate.sh OUT [SECONDS]}
end=$(($(date +%s) + ${2:-3600}))
left() { echo $((end - $(date +%s))); }
within() { [ "$(left)" -gt 0 ] && timeout --signal=INT --kill-after=30 "$(left)" "$@"; }
perfkit() { within python3 -c "from perfkit.cli import main; main()" "$@"; }

here=(--device gpu --baselines "$out/baselines")
if ! ls "$out"/baselines/*/gate-gpu >/dev/null 2>&1; then
    perfkit baseline record --runs 15 --rounds 5 --resume "${here[@]}" || exit
    perfkit baseline accept --reason "the first on this machine" "${here[@]}" || exit
fi
if [ ! -f "$out/ablation/fmha_ablation.md" ]; then
    perfkit ablation --resume --runs 4 --rounds 4 --device gpu --output "$out/ablation" --plots "$out/plots" || exit
fi
within python3 benchmarks/gate_traces.py "$out/traces" --device gpu --base tinyllama-1.1b --rounds 5 \
    --same 22 --plus5 7 --plus10 0 --neighbour 0
