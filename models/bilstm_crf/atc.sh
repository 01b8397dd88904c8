#!/usr/bin/env bash
# ONNX to OM. README, "Convert the model", step 2.
# usage: atc.sh GRAPH.onnx OUTPUT BATCH_SIZE SOC_VERSION [further flags of atc]
set -euo pipefail
onnx=$1 output=$2 bs=$3 soc_version=$4
max_seq_len=50

exec atc --framework=5 \
    --model="$onnx" \
    --output="$output" \
    --input_format=ND \
    --input_shape="ids:${bs},${max_seq_len};mask:${bs},${max_seq_len}" \
    --log=error \
    --soc_version="$soc_version" \
    "${@:5}"
