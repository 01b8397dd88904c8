#!/usr/bin/env bash
# The corpus through the offline model. README, "Verify the inference", step 1.
# usage: infer.sh MODEL.om INPUT_IDS_DIR,INPUT_MASK_DIR OUTPUT_DIR BATCH_SIZE DEVICE
set -euo pipefail
om=$1 inputs=$2 output=$3 bs=$4 device=$5

exec python3 -m ais_bench \
    --model "$om" \
    --input "$inputs" \
    --output . \
    --output_dirname "$output" \
    --outfmt NPY \
    --batchsize "$bs" \
    --device "$device"
