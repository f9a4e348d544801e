#!/usr/bin/env bash
# Measure the decode-gpu matrix on one GPU, the arms of a shape one after the other, in parts that can be
# resumed: run it again until it ends with 0. Journal and JSON are in OUT.
#   benchmarks/gpu_decode.sh OUT [SECONDS]
set -uo pipefail
out=${1:?usage: gpu_decode.sh OUT [SECONDS]}
seconds=${2:-480}
mkdir -p "$out"
timeout --signal=INT --kill-after=60 "$seconds" python3 -m pytest -m gpu --require-gpu \
    benchmarks/test_generation.py --perfkit-matrix=decode-gpu --perfkit-max-warmup=2 \
    --perfkit-rounds=3 --perfkit-journal="$out/decode-gpu.journal.jsonl" --perfkit-resume \
    --benchmark-json="$out/decode-gpu.json" --benchmark-quiet -p no:cacheprovider
