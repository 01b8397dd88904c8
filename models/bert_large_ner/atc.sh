#!/usr/bin/env bash
# ONNX to OM. README, "Inference", step 2.
# usage: atc.sh GRAPH.onnx OUTPUT BATCH_SIZE SOC_VERSION SEQ_LENS_FILE [further flags of atc]
# With one length the graph's shapes are static; with several it is compiled in gears.
set -euo pipefail
onnx=$1 output=$2 bs=$3 soc_version=$4
read -ra seq_lens <"$5"

length=${seq_lens[0]}
gears=()
if ((${#seq_lens[@]} > 1)); then
    length=-1
    for i in "${!seq_lens[@]}"; do seq_lens[i]="${seq_lens[i]},${seq_lens[i]},${seq_lens[i]}"; done
    gears=(--dynamic_dims="$(IFS=';'; echo "${seq_lens[*]}")" --input_format=ND)
fi

exec atc --framework=5 \
    --model="$onnx" \
    --output="$output" \
    --input_shape="input_ids:${bs},${length};attention_mask:${bs},${length};token_type_ids:${bs},${length}" \
    --soc_version="$soc_version" \
    --optypelist_for_implmode="Gelu" \
    --op_select_implmode=high_performance \
    "${gears[@]}" "${@:6}"
