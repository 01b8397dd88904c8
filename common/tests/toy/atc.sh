#!/usr/bin/env bash
# usage: atc.sh GRAPH.onnx OUTPUT BATCH_SIZE SOC_VERSION [further flags of atc]
set -euo pipefail
if [[ ${NPUKIT_TOY_LINGERS:-} == atc ]]; then touch lingers model.om; sleep 60; fi
exec atc --framework=5 --model="$1" --output="$2" --input_shape="numbers:$3,4" --log=error --soc_version="$4" "${@:5}"
