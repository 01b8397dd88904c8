#!/usr/bin/env bash
# The corpus through msame and its score in one step, by make, then both figures.
# usage: eval_acc_perf.sh [--batch_size=1] [--datasets_path=FOLDER of dev-v1.1.json] [pth2om.sh's other flags, if it had any]
# PROFILE, STANDIN, QUESTIONS and what else make takes come from the environment; INFER_TOOL=ais_bench takes the other tool.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
batch_size=1 settings=(PROFILE="${PROFILE:-released}" INFER_TOOL="${INFER_TOOL:-msame}")
for flag in "$@"; do
    value=${flag#*=}
    case $flag in
        --batch_size=*) batch_size=$value ;;
        --datasets_path=*) settings+=(CORPUS="$(realpath "$value")/dev-v1.1.json") ;;
        --config_file=*) settings+=(CONFIG_FILE="$(realpath "$value")") ;;
        --checkpoint=*) settings+=(CHECKPOINT="$(realpath "$value")") ;;
        --chip_name=*) settings+=(SOC="Ascend$value") ;;
        *) echo "eval_acc_perf.sh: $flag is none of --batch_size= --datasets_path= and pth2om.sh's" >&2; exit 2 ;;
    esac
done
make=(make -C "$here/.." BS="$batch_size" "${settings[@]}")
"${make[@]}" postprocess

run=$("${make[@]}" --no-print-directory show | sed -n 's/^OUT *//p')/bs$batch_size
log=$run/infer/msame_bs$batch_size.txt
parse=(env PYTHONPATH="$here/../../../common" "${VENV:-$here/../../../.venv}/bin/python" "$here/parse.py")
"${parse[@]}" --result-file "$([[ -e $log ]] && echo "$log" || echo "$run/infer/log.txt")" --batch-size "$batch_size"
"${parse[@]}" --result-file "$run/postprocess/result/result_bs$batch_size.json"
