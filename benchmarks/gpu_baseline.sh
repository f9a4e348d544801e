#!/usr/bin/env bash
# Measure the baseline-gpu matrix on one GPU, in parts that can be resumed: run it again until it ends
# with 0. Each part takes at most SECONDS; its journal and JSON are in OUT.
#   benchmarks/gpu_baseline.sh OUT [SECONDS]
set -uo pipefail
out=${1:?usage: gpu_baseline.sh OUT [SECONDS]}
seconds=${2:-480}
mkdir -p "$out"
timeout --signal=INT --kill-after=60 "$seconds" python3 -m pytest -m gpu --require-gpu \
    benchmarks/test_generation.py --perfkit-matrix=baseline-gpu --perfkit-max-warmup=2 \
    --perfkit-rounds=5 --perfkit-journal="$out/baseline-gpu.journal.jsonl" --perfkit-resume \
    --benchmark-json="$out/baseline-gpu.json" --benchmark-quiet -p no:cacheprovider
