#!/usr/bin/env bash
# Hold the batching simulator against a real batcher of LLaMA-2-7B on one GPU: six loads of 200
# requests each. Run it again until it ends with 0: finished loads are kept in OUT, and each load is
# calibrated anew, right before it. Each part takes at most SECONDS.
#   benchmarks/gpu_validate.sh OUT [SECONDS]
#
# torch-compile, so that the GPU and not a shared host decides how long a step takes: prefill of
# 4 x 1,024 tokens some 0.1 s, 31 steps of 5.5 ms.
#   a batch of 4: 0.27 s, so it saturates at 4 / 0.27 = 14.8 requests/s
#   arrivals: 200 / 14.8 x (1/0.3 + 1/0.5 + 1/0.6 + 1/0.7 + 1/0.8 + 1/0.9) = 13.5 s x 10.8 = 146 s
#   calibration: batches of 1 to 4 take about 0.9 s a round; 10 rounds x 6 loads = 54 s
#   start: imports and 13.5 GB of random weights about 60 s, compiling four batch sizes about 150 s
# That is 410 s. Where numba is not installed it ends after the measurement;
# `perfkit batching validate --from OUT/batching_validation.json` then predicts where it is.
set -uo pipefail
out=${1:?usage: gpu_validate.sh OUT [SECONDS]}
seconds=${2:-560}
exec timeout --signal=INT --kill-after=30 "$seconds" \
    python3 -c "from perfkit.cli import main; main()" batching validate \
    torch-compile/llama2-7b/bf16/fmha/b4/p1024/n32/tp1 --policy dynamic --delay-ms 20 \
    --load 0.3 --load 0.5 --load 0.6 --load 0.7 --load 0.8 --load 0.9 --requests 200 --fit-rounds 10 \
    --device gpu --output "$out/batching_validation.json" --resume
