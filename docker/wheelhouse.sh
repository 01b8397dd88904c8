#!/usr/bin/env bash
# The wheels that an image is built from, gathered on a connected machine; or, with --check, whether every pin has one.
# usage: wheelhouse.sh FOLDER ARCH PYTHON [AIS_BENCH]     e.g. wheelhouse.sh wheelhouse/aarch64-py3.11 aarch64 3.11
#        wheelhouse.sh --check ARCH PYTHON                asks the index and downloads no wheel that it does not need
# AIS_BENCH  the checkout of ais_bench (with backend/), or a folder with the wheels aclruntime-*.whl and ais_bench-*.whl
set -euo pipefail
cd "$(dirname "$0")/.."
PIP=("${PYTHON:-python3}" -m pip --disable-pip-version-check)
folder=$1 arch=$2 python=$3 ais_bench=${4:-}
say() { echo "wheelhouse.sh: $*" >&2; exit 2; }
[[ $arch =~ ^(x86_64|aarch64)$ ]] || say "ARCH='$arch'; it is x86_64 or aarch64"
[[ $python =~ ^3\.1[12]$ ]] || say "PY='$python'; it is 3.11 or 3.12"

# Which wheels run there: glibc 2.28 and older, for CANN's bases (Ubuntu 22.04, openEuler) have newer ones.
target=(--only-binary :all: --implementation cp --python-version "$python")
for glibc in 2_28 2_27 2_26 2_24 2_17 2_12 2_5; do target+=(--platform "manylinux_${glibc}_$arch"); done
for old in 2014 2010 1; do target+=(--platform "manylinux${old}_$arch"); done

# A pin without any wheel is built here; it must be of Python alone, to be right elsewhere too.
from_source() {
    "${PIP[@]}" wheel --quiet --no-deps --wheel-dir "$1" "$(grep '^seqeval==' common/constraints.txt)"
    compgen -G "$1/seqeval-*-py3-none-any.whl" >/dev/null || say 'seqeval is not of Python alone'
}

if [[ $folder == --check ]]; then
    made=$(mktemp -d)
    trap 'rm -rf "$made"' EXIT
    from_source "$made"
    "${PIP[@]}" install --quiet --dry-run --ignore-installed --no-deps --target "$made/none" "${target[@]}" --find-links "$made" \
        -r common/constraints.txt -r docker/tools.txt || say "not every pin has a wheel for $arch and Python $python"
    echo "every pin has a wheel for $arch and Python $python"
    exit
fi

mkdir -p "$folder"
"${PIP[@]}" download --quiet --dest "$folder" --find-links "$folder" "${target[@]}" -c common/constraints.txt \
    -r <(sed '/^# The tests/,$d' common/requirements.txt) -r docker/tools.txt ||
    say "a wheel is missing: see above; PIP_EXTRA_INDEX_URL with PyTorch's CPU index spares the CUDA packages"
if [[ -d $ais_bench/backend ]]; then
    rm -rf "$folder/ais_bench"
    cp -r "$ais_bench" "$folder/ais_bench"
elif [[ -n $ais_bench ]]; then
    cp "$ais_bench"/aclruntime-*.whl "$ais_bench"/ais_bench-*.whl "$folder" || say "$ais_bench holds neither a backend/ nor the two wheels"
fi
printf '%s: %s wheels, %s\n' "$folder" "$(find "$folder" -name '*.whl' | wc -l)" "$(du -sh "$folder" | cut -f1)"
