#!/usr/bin/env bash
# Measure the decode-gpu matrix on one GPU, the arms of a shape one after the other, then the cold and warm
# starts of both arms. Run it again to go on, until it ends with 0; it ends within SECONDS, and begins no
# arm's starts with less than START_S of them left, since those would begin anew. Journal and JSON are in OUT.
#   benchmarks/gpu_decode.sh OUT [SECONDS]
set -uo pipefail
out=${1:?usage: gpu_decode.sh OUT [SECONDS]}
end=$(($(date +%s) + ${2:-480}))
start_s=${START_S:-300}
left() { echo $((end - $(date +%s))); }
within() { timeout --signal=INT --kill-after=60 "$(left)" "$@"; }
perfkit() { within python3 -c "from perfkit.cli import main; main()" "$@"; }
mkdir -p "$out"
within python3 -m pytest -m gpu --require-gpu \
    benchmarks/test_generation.py --perfkit-matrix=decode-gpu --perfkit-max-warmup=2 \
    --perfkit-rounds=3 --perfkit-journal="$out/decode-gpu.journal.jsonl" --perfkit-resume \
    --benchmark-json="$out/decode-gpu.json" --benchmark-quiet -p no:cacheprovider
cells=$?
[ "$cells" -ne 5 ] || cells=0 # 5: the journal has them all
[ "$cells" -le 1 ] || exit "$cells" # 1: a cell is broken, and says so
for arm in torch-triton torch-compile; do
    [ -f "$out/start_$arm.json" ] && continue
    [ "$(left)" -ge "$start_s" ] || exit 124
    perfkit start "$arm/llama2-7b/bf16/fmha/b1/p128/n128/tp1" --device gpu --output "$out/start_$arm.json" || exit
done
exit "$cells"
