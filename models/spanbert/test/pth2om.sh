#!/usr/bin/env bash
# Weights to ONNX to OM in one step, by make: the export and each edit of the graph are proved on the corpus on the way.
# usage: pth2om.sh [--batch_size=1] [--config_file=FILE --checkpoint=FILE] [--chip_name=310P3]
# Without --checkpoint it takes the profile's weights; PROFILE, STANDIN and what else make takes come from the environment.
set -euo pipefail
batch_size=1 settings=(PROFILE="${PROFILE:-released}")
for flag in "$@"; do
    value=${flag#*=}
    case $flag in
        --batch_size=*) batch_size=$value ;;
        --config_file=*) settings+=(CONFIG_FILE="$(realpath "$value")") ;;
        --checkpoint=*) settings+=(CHECKPOINT="$(realpath "$value")") ;;
        --chip_name=*) settings+=(SOC="Ascend$value") ;;
        *) echo "pth2om.sh: $flag is none of --batch_size= --config_file= --checkpoint= --chip_name=" >&2; exit 2 ;;
    esac
done
exec make -C "$(dirname "$0")/.." BS="$batch_size" "${settings[@]}" atc
