#!/usr/bin/env bash
# ONNX to OM. README, "Inference", step 3.2.
# usage: atc.sh GRAPH.onnx OUTPUT BATCH_SIZE SOC_VERSION SEQ_LENS_FILE [further flags of atc]
# With several lengths each has a graph, GRAPH_<length>.onnx, and becomes OUTPUT_<length>.om; OUTPUT.om is the longest's.
set -euo pipefail
onnx=$1 output=$2 bs=$3 soc_version=$4
read -ra seq_lens <"$5"

for length in "${seq_lens[@]}"; do
    suffix=
    if ((${#seq_lens[@]} > 1)); then suffix=_$length; fi
    atc --framework=5 \
        --model="${onnx%.onnx}$suffix.onnx" \
        --output="$output$suffix" \
        --input_format=ND \
        --input_shape="input:$bs,$length,50" \
        --log=error \
        --soc_version="$soc_version" \
        "${@:6}"
done
if [[ $suffix ]]; then ln -s "$output$suffix.om" "$output.om"; fi
