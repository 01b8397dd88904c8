#!/usr/bin/env bash
# ONNX to OM. README, "Inference", step 1.4.
# usage: atc.sh GRAPH.onnx OUTPUT BATCH_SIZE SOC_VERSION SEQ_LENS_FILE [further flags of atc]
# With one length the graph's shapes are static; with several it is compiled in gears.
set -euo pipefail
onnx=$1 output=$2 bs=$3 soc_version=$4
read -ra seq_lens <"$5"

shapes=()
if ((${#seq_lens[@]} > 1)); then
    for i in "${!seq_lens[@]}"; do seq_lens[i]="${seq_lens[i]},${seq_lens[i]}"; done
    dynamic_dims=$(IFS=';'; echo "${seq_lens[*]}")
    shapes=(--input_shape="input_ids:${bs},-1;attention_mask:${bs},-1" --dynamic_dims="$dynamic_dims")
fi

exec atc --model="$onnx" \
    --framework=5 \
    --output="$output" \
    --input_format=ND \
    --log=error \
    --soc_version="$soc_version" \
    --optypelist_for_implmode="Gelu" \
    --op_select_implmode=high_performance \
    "${shapes[@]}" "${@:6}"
