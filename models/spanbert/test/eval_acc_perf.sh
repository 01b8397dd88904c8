#!/usr/bin/env bash
# The corpus through msame and its score in one step, by make, then both figures.
# usage: eval_acc_perf.sh [--batch_size=1] [--datasets_path=FOLDER of dev-v1.1.json] [pth2om.sh's other flags]
# It takes the model that pth2om.sh left in the current folder, by its settings; flags of its own come before those. PROFILE,
# STANDIN, QUESTIONS and what else make takes come from the environment; INFER_TOOL=ais_bench takes the other tool.
# Leaves in the current folder what the original's next commands read: input_ids/ segment_ids/ input_mask/, msame_bs<N>.txt,
# result/outputs_bs<N>_om/ and result/result_bs<N>.json.
set -euo pipefail
flags="--batch_size --datasets_path --config_file --checkpoint --chip_name"
source "$(dirname "$0")/one_step.sh"

if [[ -e spanBert_bs$batch_size.settings ]]; then
    mapfile -t left <"spanBert_bs$batch_size.settings"
    settings=("${left[@]}" "${settings[@]}")
fi
settings+=(INFER_TOOL="${INFER_TOOL:-msame}")
stage postprocess
for name in input_ids segment_ids input_mask; do leave "$run/infer/batches/$name" "$name"; done
leave "$run/infer/msame_bs$batch_size.txt" "msame_bs$batch_size.txt"
leave "$run/infer/outputs" "result/outputs_bs${batch_size}_om"
leave "$run/postprocess/result/result_bs$batch_size.json" "result/result_bs$batch_size.json"

parse=(env PYTHONPATH="$here/../../../common" "${VENV:-$here/../../../.venv}/bin/python" "$here/parse.py")
log=msame_bs$batch_size.txt
"${parse[@]}" --result-file "$([[ -e $log ]] && echo "$log" || echo "$run/infer/log.txt")" --batch-size "$batch_size"
"${parse[@]}" --result-file "result/result_bs$batch_size.json"
