#!/usr/bin/env bash
# Weights to ONNX to OM in one step, by make: the export and each edit of the graph are proved on the corpus on the way.
# usage: pth2om.sh [--batch_size=1] [--config_file=FILE --checkpoint=FILE] [--chip_name=310P3]
# Without --checkpoint it takes the profile's weights; PROFILE, STANDIN and what else make takes come from the environment.
# Leaves in the current folder: spanBert_dynamicbs.onnx, spanBert_bs<N>.om, and spanBert_bs<N>.settings for eval_acc_perf.sh.
set -euo pipefail
flags="--batch_size --config_file --checkpoint --chip_name"
source "$(dirname "$0")/one_step.sh"

stage atc
leave "$out/pth2onnx/spanBert_dynamicbs.onnx" spanBert_dynamicbs.onnx
leave "$run/atc/model.om" "spanBert_bs$batch_size.om"
printf '%s\n' PROFILE="${PROFILE:-released}" "${settings[@]}" >"spanBert_bs$batch_size.settings"
