#!/usr/bin/env bash
# The corpus through the offline model. README, "Inference", step 4.2.
# usage: infer.sh MODEL.om INPUT_DIR OUTPUT_DIR BATCH_SIZE DEVICE
# Sentences of differing lengths (preprocess.py with several --word_len) are put into whole batches of one gear each first;
# each gear runs in its own MODEL_<length>.om, and the runs are put together.
set -euo pipefail
om=$1 input=$2 output=$3 bs=$4 device=$5

run() { # MODEL.om INPUT OUTPUT OUTPUT_DIRNAME [further flags]
    python3 -m ais_bench --model "$1" --input "$2" --output "$3" --output_dirname "$4" --outfmt NPY --device "$device" "${@:5}"
}

if [[ -d $input ]]; then
    run "$om" "$input" . "$output" --batchsize "$bs"
    exit
fi
python3 -m npukit batch --inputs "$(dirname "$input")" --batch_size "$bs" --output batches --apart
mkdir parts
for gear in batches/*/; do
    length=$(basename "$gear")
    run "${om%.om}_$length.om" "$gear$(basename "$input")" parts "$length" --batchsize "$bs"
done
python3 -m npukit merge --parts parts --output "$output"
