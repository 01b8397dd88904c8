#!/usr/bin/env bash
# The corpus through the offline model. README, "Inference", step 4.2.
# usage: infer.sh MODEL.om INPUTS_DIR OUTPUT_DIR BATCH_SIZE DEVICE
# Each length runs in its own MODEL_<length>.om, one length alone in MODEL.om; the runs are put together.
set -euo pipefail
om=$1 inputs=$2 output=$3 bs=$4 device=$5

python3 -m npukit batch --inputs "$inputs" --batch_size "$bs" --output batches --by_gear
mkdir parts
for gear in batches/*/; do
    length=$(basename "$gear")
    model=${om%.om}_$length.om
    [[ -e $model ]] || model=$om
    python3 -m ais_bench --model "$model" --input "$gear"* --output parts --output_dirname "$length" \
        --outfmt NPY --device "$device" --batchsize "$bs"
done
python3 -m npukit merge --parts parts --output "$output"
