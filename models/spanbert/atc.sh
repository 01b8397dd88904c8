#!/usr/bin/env bash
# ONNX to OM. README, "Convert the model", step 3.
# usage: atc.sh GRAPH.onnx OUTPUT BATCH_SIZE SOC_VERSION SEQ_LENS_FILE [further flags of atc]
# With several lengths it is compiled in gears.
set -euo pipefail
onnx=$1 output=$2 bs=$3 soc_version=$4
read -ra seq_lens <"$5"

length=${seq_lens[0]} gears=()
if ((${#seq_lens[@]} > 1)); then
    for i in "${!seq_lens[@]}"; do seq_lens[i]="${seq_lens[i]},${seq_lens[i]},${seq_lens[i]}"; done
    length=-1 gears=(--dynamic_dims="$(IFS=';'; echo "${seq_lens[*]}")")
fi

exec atc --framework=5 \
    --model="$onnx" \
    --output="$output" \
    --input_format=ND \
    --input_shape="input_ids:$bs,$length;token_type_ids:$bs,$length;attention_mask:$bs,$length" \
    --log=error \
    --soc_version="$soc_version" \
    "${gears[@]}" "${@:6}"
