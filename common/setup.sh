#!/usr/bin/env bash
# Make the environment that everything runs in: a venv with the pinned packages. python.mk calls it, one at a time.
# usage: setup.sh PYTHON VENV
set -euo pipefail
python=$1 venv=$2 here=$(cd "$(dirname "$0")" && pwd)

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || {
    echo "npukit needs Python 3.11 or 3.12, and $python is $("$python" -V 2>&1); name another with PYTHON3=" >&2
    exit 2
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
    echo "$python cannot make an environment; install its venv module (Debian: apt install python3-venv)" >&2
    exit 2
}
echo "setting up $venv: pinned packages, once; some minutes on a slow line"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --disable-pip-version-check -c "$here/constraints.txt" -r "$here/requirements.txt" |
    grep --line-buffered -v '^Requirement already satisfied' || [[ ${PIPESTATUS[0]} == 0 ]]  # nothing new to say is no failure

# The pins and what they leave open, in one word: stages that were made with others are made again.
{
    cat "$here/constraints.txt"
    "$venv/bin/python" -m pip freeze | grep -E '^(torch|aclruntime|ais_bench)=' || true
} | sha256sum | cut -c1-16 >"$venv/ready.new"
mv "$venv/ready.new" "$venv/ready"
