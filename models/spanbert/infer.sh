#!/usr/bin/env bash
# The corpus through the offline model. README, "Inference".
# usage: infer.sh MODEL.om INPUT_IDS_DIR,SEGMENT_IDS_DIR,INPUT_MASK_DIR OUTPUT_DIR BATCH_SIZE DEVICE [ais_bench|msame]
# The directories lie beside preprocess.py's manifest.json; the tools pair them with the graph's inputs by position.
set -euo pipefail
om=$1 inputs=$2 output=$3 bs=$4 device=$5 tool=${6:-ais_bench}
folder=$(dirname "${inputs%%,*}")
batch=(python3 -m npukit batch --inputs "$folder" --directories "$inputs" --batch_size "$bs" --output batches)
names=input_ids,segment_ids,input_mask

if [[ $tool == ais_bench ]]; then
    "${batch[@]}"
    mode=(--batchsize "$bs")
    if [[ $(<"$folder/seq_lens.txt") == *" "* ]]; then mode=(--auto_set_dymdims_mode 1); fi
    exec python3 -m ais_bench --model "$om" --input "batches/${names//,/,batches/}" --output . --output_dirname "$output" \
        --outfmt NPY --device "$device" "${mode[@]}"
fi

# msame takes one length a call, and puts what it makes into a dated folder.
"${batch[@]}" --bins
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
