#!/usr/bin/env bash
# The environment of an image, made while it is built: /opt/venv from the wheels in /wheels, with no network and no
# compiler.
# The base's own Python stays as it is: CANN's protobuf and numpy never meet ours.
set -euo pipefail
say() { echo "environment.sh: $*" >&2; exit 2; }
offline=(--disable-pip-version-check --no-cache-dir --no-index --find-links /wheels)

python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' ||
    say "the base has $(python3 --version); npukit needs 3.11 or 3.12: take a base whose name ends in py3.11"
compgen -G '/wheels/*.whl' >/dev/null || say 'the wheelhouse is empty; make wheelhouse fills it on a connected machine'

# The OM runner is in no package index: wheels, or a checkout whose backend is compiled here, against this CANN.
set_env=$(compgen -G '/usr/local/Ascend/*/set_env.sh' | head -1 || true)
wanted=$([[ -z $set_env || $AIS_BENCH == none ]] || echo yes)
checkout=/wheels/ais_bench
if [[ $wanted && ! -d $checkout/backend ]]; then
    [[ $(compgen -G '/wheels/aclruntime-*.whl') && $(compgen -G '/wheels/ais_bench-*.whl') ]] ||
        say "there is no ais_bench, the OM runner: give make wheelhouse AIS_BENCH=<its checkout, or a folder with" \
            "the wheels aclruntime-*.whl and ais_bench-*.whl>;" \
            "or build without it, to compile only: make image AIS_BENCH=none"
fi

python3 -m venv /opt/venv
pip=(/opt/venv/bin/python -m pip)
sed '/^# The tests/,$d' /build/requirements.txt >/build/needed.txt
"${pip[@]}" install "${offline[@]}" --quiet -c /build/constraints.txt -r /build/needed.txt ||
    say "the wheelhouse does not hold every package for $(python3 -V) on $(uname -m);" \
        "make wheelhouse ARCH=$(uname -m) PY=..."

if [[ $wanted ]]; then
    if [[ -d $checkout/backend ]]; then
        "${pip[@]}" install "${offline[@]}" --quiet -c /build/tools.txt --target /build/tools pybind11 setuptools wheel
        set +eu  # it reads variables that nobody has set
        # shellcheck disable=SC1090
        source "$set_env"
        set -eu
        PYTHONPATH=/build/tools:${PYTHONPATH:-} "${pip[@]}" wheel --quiet --no-deps --no-build-isolation --no-index \
            --wheel-dir /wheels "$checkout/backend" "$checkout"
    fi
    "${pip[@]}" install "${offline[@]}" --quiet -c /build/constraints.txt \
        /wheels/aclruntime-*.whl /wheels/ais_bench-*.whl
fi

# What stages compare to know whether the tools have changed, as common/python.mk writes it.
{ cat /build/constraints.txt; "${pip[@]}" freeze | grep -E '^(torch|aclruntime|ais_bench)='; } |
    sha256sum | cut -c1-16 >/opt/venv/ready
command -v make >/dev/null || "${pip[@]}" install "${offline[@]}" --quiet -c /build/tools.txt gnumake
