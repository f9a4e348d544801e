#!/usr/bin/env bash
# On a GPU: the FMHA ablation over 4 runs (about 6 minutes each), a baseline of 15 runs of gate-gpu where the
# repository has none, and a pilot of the gate's error rates: 12 unchanged runs, 8 with one layer more (each run
# about half a minute). Run it again to go on where it stopped; it ends within SECONDS, and begins no run of the
# ablation that would be cut.
#   benchmarks/gpu_gate.sh OUT [SECONDS]
set -uo pipefail
out=${1:?usage: gpu_gate.sh OUT [SECONDS]}
end=$(($(date +%s) + ${2:-7200}))
run_s=${ABLATION_RUN_S:-400}
left() { echo $((end - $(date +%s))); }
within() { [ "$(left)" -gt 0 ] && timeout --signal=INT --kill-after=30 "$(left)" "$@"; }
perfkit() { within python3 -c "from perfkit.cli import main; main()" "$@"; }

for runs in 1 2 3 4; do
    [ "$(find "$out/ablation/runs" -name '*_run.json' 2>/dev/null | wc -l)" -ge "$runs" ] && continue
    [ "$(left)" -ge "$run_s" ] || exit 124
    perfkit ablation --resume --runs "$runs" --rounds 3 --max-warmup 1 --device gpu --output "$out/ablation" \
        --plots "$out/plots" || exit
done
if ! compgen -G "baselines/nvidia-*/gate-gpu" && ! compgen -G "$out/baselines/*/gate-gpu"; then
    here=(--device gpu --baselines "$out/baselines")
    perfkit baseline record --runs 15 --rounds 5 --resume "${here[@]}" || exit
    perfkit baseline accept --reason "the first on this machine" "${here[@]}" || exit
fi
within python3 benchmarks/gate_traces.py "$out/traces" --device gpu --rounds 5 \
    --same 12 --plus5 8 --plus10 0 --neighbour 0
