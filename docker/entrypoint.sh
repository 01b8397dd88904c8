#!/usr/bin/env bash
# What a job in the image finds: CANN's environment where the base has one, a HOME that it may write to, make.
set -euo pipefail

for set_env in /usr/local/Ascend/ascend-toolkit/set_env.sh /usr/local/Ascend/cann/set_env.sh; do
    [[ -e $set_env ]] || continue
    set +eu  # it reads variables that nobody has set
    # shellcheck disable=SC1090
    source "$set_env"
    set -eu
    break
done

# The driver's libraries come from the host; without a driver atc works with the stubs that the toolkit brings for it.
driver=/usr/local/Ascend/driver/lib64
stubs=${ASCEND_TOOLKIT_HOME:-/none}/$(uname -m)-linux/devlib
if [[ -d $driver ]]; then
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$driver:$driver/common:$driver/driver
elif [[ -d $stubs ]]; then
    export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$stubs
fi

# Any uid may run this: one without a passwd entry has / for its HOME, and atc writes there.
if [[ ! -w ${HOME:-/} || ${HOME:-/} == / ]]; then
    HOME=$(mktemp -d) || { echo 'npukit: HOME and /tmp cannot be written; run with --tmpfs /tmp' >&2; exit 2; }
    export HOME
fi
export PATH=$PATH:$VENV/bin  # last: atc needs the Python that CANN was made with
exec "$@"
