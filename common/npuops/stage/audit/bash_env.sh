# Notes the script that a bash is about to run, for the stage that started it; npuops.stage.reads says what becomes of the notes.
# Bash reads this file before any script, for BASH_ENV names it; a BASH_ENV that was there before is read as well.
case $0 in
    /*) printf '%s\n' "$0" ;;
    *) printf '%s\n' "$PWD/$0" ;;
esac >>"$NPUKIT_NOTES"
# shellcheck disable=SC1090
if [[ ${NPUKIT_BASH_ENV:-} ]]; then . "$NPUKIT_BASH_ENV"; fi
