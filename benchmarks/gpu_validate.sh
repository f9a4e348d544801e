#!/usr/bin/env bash
# Hold the batching simulator against a real batcher of LLaMA-2-7B on one GPU: six loads of 200
# requests each. Run it again until it ends with 0: finished loads are kept in OUT, and each load is
# calibrated anew, right before it. Each part takes at most SECONDS.
#   benchmarks/gpu_validate.sh OUT [SECONDS]
#
# How long it takes where eager decoding is bound by a slow host (30 ms a token, whatever the batch;
# prefill of 8 x 512 tokens 100 ms):
#   a batch of 8: 100 ms + 15 steps x 30 ms = 0.55 s, so it saturates at 8 / 0.55 = 14.5 requests/s
#   arrivals: 200 / 14.5 x (1/0.3 + 1/0.5 + 1/0.6 + 1/0.7 + 1/0.8 + 1/0.9) = 13.8 s x 10.8 = 149 s
#   calibration: batches of 1 to 8 take about 8 x 0.5 s = 4 s a round; 10 rounds x 6 loads = 240 s
#   start: imports and 13.5 GB of random weights about 30 s, warm-up at most 4 rounds x 4 s = 16 s
# That is 435 s; at 20 ms a token 300 s. Where numba is not installed it ends after the measurement;
# `perfkit batching validate --from OUT/batching_validation.json` then predicts where it is.
set -uo pipefail
out=${1:?usage: gpu_validate.sh OUT [SECONDS]}
seconds=${2:-560}
exec timeout --signal=INT --kill-after=30 "$seconds" \
    python3 -c "from perfkit.cli import main; main()" batching validate \
    torch-eager/llama2-7b/bf16/fmha/b8/p512/n16/tp1 --policy dynamic --delay-ms 20 \
    --load 0.3 --load 0.5 --load 0.6 --load 0.7 --load 0.8 --load 0.9 --requests 200 --fit-rounds 10 \
    --device gpu --output "$out/batching_validation.json" --resume
