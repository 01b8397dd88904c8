#!/usr/bin/env bash
# usage: infer.sh MODEL.om INPUT_DIR OUTPUT_DIR BATCH_SIZE DEVICE
set -euo pipefail
if [[ ${NPUKIT_TOY_LINGERS:-} == infer ]]; then touch lingers outputs_summary.json; sleep 60; fi
exec python3 -m ais_bench --model "$1" --input "$2" --output . --output_dirname "$3" --outfmt NPY --batchsize "$4" --device "$5"
