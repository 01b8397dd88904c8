# What pth2om.sh and eval_acc_perf.sh share: their flags, their call of make, and what they leave. Sourced; `flags` names what is taken.
script=$(basename "$0") here=$(dirname "$(realpath "$0")")
batch_size=1 settings=()

stop() {
    echo "$script: $1" >&2
    exit 2
}

# place FLAG PATH: the whole path of what a flag names
place() {
    [[ -e $2 ]] || stop "$1 names $2, which is not there"
    realpath "$2"
}

# leave FROM TO: a copy, for the original's next commands write where they read; what is not there is not left
leave() {
    rm -rf "$2"
    [[ ! -e $1 ]] || { mkdir -p "$(dirname "$2")" && cp -r --reflink=auto "$1" "$2"; }
}

for argument in "$@"; do
    flag=${argument%%=*} value=${argument#*=}
    [[ $argument == *=* && " $flags " == *" $flag "* ]] || stop "$argument is none of ${flags// /= }="
    case $flag in
        --batch_size) batch_size=$value ;;
        --datasets_path) path=$(place "$flag" "$value/dev-v1.1.json"); settings+=(CORPUS="$path") ;;
        --config_file) path=$(place "$flag" "$value"); settings+=(CONFIG_FILE="$path") ;;
        --checkpoint) path=$(place "$flag" "$value"); settings+=(CHECKPOINT="$path") ;;
        --chip_name) settings+=(SOC="Ascend$value") ;;
    esac
done

# stage NAME: what make leaves of it; `out` is the folder of the results, `run` that of this batch size
stage() {
    local make=(make --no-print-directory -C "$here/.." BS="$batch_size" PROFILE="${PROFILE:-released}" "${settings[@]}")
    "${make[@]}" "$1"
    out=$("${make[@]}" show | sed -n 's/^OUT  *//p') run=$out/bs$batch_size
}
