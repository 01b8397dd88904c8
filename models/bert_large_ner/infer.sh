#!/usr/bin/env bash
# The corpus through the offline model. README, "Inference", step 3.
# usage: infer.sh MODEL.om INPUT_IDS_DIR,ATTENTION_MASK_DIR,TOKEN_TYPE_IDS_DIR OUTPUT_DIR BATCH_SIZE DEVICE
# Samples of differing lengths (preprocess.py with several --seq_len) are put into whole batches of one gear each first.
set -euo pipefail
om=$1 inputs=$2 output=$3 bs=$4 device=$5

mode=(--batchsize "$bs")
folder=$(dirname "${inputs%%,*}")
if [[ -e $folder/lengths.npy ]]; then
    python3 -m npukit batch --inputs "$folder" --batch_size "$bs" --output batches
    inputs=batches/input_ids,batches/attention_mask,batches/token_type_ids
    mode=(--auto_set_dymdims_mode 1)
fi

exec python3 -m ais_bench \
    --model "$om" \
    --input "$inputs" \
    --output . \
    --output_dirname "$output" \
    --outfmt NPY \
    --device "$device" \
    "${mode[@]}"
