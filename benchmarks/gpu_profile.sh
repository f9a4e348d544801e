#!/usr/bin/env bash
# On a GPU: torch's profiles of LLaMA-2-7B, eager and compiled, with and without fused attention (one session,
# about 4 minutes), then ncu's counters of the attention kernels of torch, Triton and TensorRT-LLM (about a
# minute and a half each; trtllm-fmha needs the extra flashinfer). Run it again to go on; it ends within SECONDS.
#   benchmarks/gpu_profile.sh OUT [SECONDS]
# Then, anywhere: perfkit explain OUT/llama2-7b.json::torch-eager/llama2-7b/bf16/nofmha \
#                                 OUT/llama2-7b.json::torch-eager/llama2-7b/bf16/fmha
set -uo pipefail
out=$(realpath -m "${1:?usage: gpu_profile.sh OUT [SECONDS]}")
end=$(($(date +%s) + ${2:-3600}))
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
left() { echo $((end - $(date +%s))); }
within() { [ "$(left)" -gt 0 ] && timeout --signal=INT --kill-after=30 "$(left)" "$@"; }
perfkit() { within python3 -c "from perfkit.cli import main; main()" "$@"; }
mkdir -p "$out"

if [ ! -f "$out/llama2-7b.json" ]; then
    within python3 -m pytest -q --no-header -p no:cacheprovider benchmarks/test_generation.py --benchmark-quiet \
        --perfkit-matrix=profile-gpu --perfkit-device=gpu --perfkit-rounds=5 --perfkit-profile="$out" \
        --perfkit-journal="$out/journal.jsonl" --perfkit-resume --benchmark-json="$out/partial.json"
    [ $? -le 1 ] || exit # 1: a cell is broken, and says so
    mv "$out/partial.json" "$out/llama2-7b.json"
fi
for attention in fmha=torch-flash fmha=triton-hopper fmha=trtllm-fmha; do
    case=torch-eager/llama2-7b/bf16/$attention/b8/p1024/n1/tp1
    [ -f "$out/${case//\//_}_ncu_metrics.csv" ] || perfkit profile "$case" --tool ncu --device gpu --output "$out" || exit
done
