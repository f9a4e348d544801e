#!/usr/bin/env bash
# Sweep llama2-7b (torch-eager, bf16: 112 cells) and cells that need two GPUs or TensorRT-LLM, on one
# GPU, in parts that can be resumed: run it again until it ends with 0. Each part takes at most
# SECONDS; NEW ("32" or "128") measures the cells of that many new tokens first.
#   benchmarks/gpu_sweep.sh OUT [SECONDS [NEW]]
set -uo pipefail
out=${1:?usage: gpu_sweep.sh OUT [SECONDS [NEW]]}
seconds=${2:-480}
new=${3:+n$3/}
resume=()
[ -s "$out/matrix_results.journal.jsonl" ] && resume=(--resume)
exec timeout --signal=INT --kill-after=90 "$seconds" \
    python3 -c "from perfkit.cli import main; main()" sweep llama2-7b tp2 --device gpu --seed 4 \
    --case "torch-eager/llama2-7b/bf16/*/$new" --case tp2 \
    --case trtllm-engine/llama2-7b/bf16/fmha/b8/p512/n128/tp1 --output "$out" "${resume[@]}"
