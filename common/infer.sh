#!/usr/bin/env bash
# The corpus through the offline model, for every model that has no infer.sh of its own.
# usage: infer.sh MODEL.om INPUTS_DIR OUTPUT_DIR BATCH_SIZE DEVICE
# Samples are put into whole batches first, batches/, which also says which sample each row is: batches/order.npy.
set -euo pipefail
om=$1 inputs=$2 output=$3 bs=$4 device=$5

flags=$(python3 -m npukit batch --inputs "$inputs" --batch_size "$bs" --output batches)
read -ra flags <<<"$flags"

exec python3 -m ais_bench \
    --model "$om" \
    --output . \
    --output_dirname "$output" \
    --outfmt NPY \
    --device "$device" \
    "${flags[@]}"
