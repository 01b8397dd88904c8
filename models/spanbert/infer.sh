#!/usr/bin/env bash
# The corpus through the offline model. README, "Inference".
# usage: infer.sh MODEL.om INPUTS_DIR OUTPUT_DIR BATCH_SIZE DEVICE [ais_bench|msame]
# The folders of the batches are given in the graph's order: both tools pair them with its inputs by position.
set -euo pipefail
om=$1 inputs=$2 output=$3 bs=$4 device=$5 tool=${6:-ais_bench}
if [[ $tool == ais_bench ]]; then exec bash "$(dirname "$0")/../../common/infer.sh" "${@:1:5}"; fi

# msame takes one length a call, and puts what it makes into a dated folder.
python3 -m npukit batch --inputs "$inputs" --batch_size "$bs" --output batches --bins
names=input_ids,segment_ids,input_mask
mkdir "$output"
for ids in batches/input_ids batches/*/input_ids; do
    [[ -d $ids ]] || continue
    here=${ids%/input_ids} mode=()
    if [[ $here != batches ]]; then
        dims="$bs,${here#batches/}"
        mode=(--dymDims "input_ids:$dims;token_type_ids:$dims;attention_mask:$dims")
    fi
    msame --model "$om" --input "$here/${names//,/,$here/}" --output msame --outfmt BIN --device "$device" "${mode[@]}" \
        >>"msame_bs$bs.txt" 2>&1
    mv msame/*/* "$output"
    rm -r msame
done
python3 -m npukit msame "msame_bs$bs.txt" "${output}_summary.json"
