# Puts the project's Python and the stand-in's tools on the path of this shell, as CANN's set_env.sh does its own:
#     source common/standin/set_env.sh
# Never together with CANN's: whichever comes later hides the other.
_standin=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH="${VENV:-${_standin%/common/standin}/.venv}/bin:$_standin/bin:$PATH"
export PYTHONPATH="$_standin:${_standin%/standin}${PYTHONPATH:+:$PYTHONPATH}"
unset _standin
