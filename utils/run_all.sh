#!/usr/bin/env bash
# Makes all runs of one data set and network: LOSSES × SEEDS, one after the other. Finished runs are skipped.
#     utils/run_all.sh DATA MODEL [--list] [further arguments of main.py]
# Two words in LOSSES train nothing: `ensemble` makes a Deep Ensemble of the SoftMax runs of SEEDS, and `godin_preprocessing` scores
# GODIN's runs with preprocessed inputs. --list prints the commands that are left to do, one per line, and runs none of them. The
# listed commands can run in any order: finished runs are not listed, and the two words are listed once the runs that they need are
# finished. The exit status is that of the last command that failed.
set -uf # f: a * in LOSSES is not replaced with file names
. "$(dirname "$0")/help.sh"
. "$(dirname "$0")/stopping.sh"
. "$(dirname "$0")/paths.sh"
[ $# -ge 2 ] || { echo "error: DATA and MODEL are missing: bash utils/run_all.sh --help" >&2; exit 2; }
read_arguments "${@:3}"
set -- "$(absolute_source "$1")" "$2" ${arguments[@]+"${arguments[@]}"}
cd "$(dirname "$0")/.." || exit
: "${LOSSES:=softmax isomax isomaxplus dismax_nofpr dismax}" "${SEEDS:=1 2 3 4 5}"
list='' arguments=() shared=() option='' config=''
for argument in "${@:3}"; do
    if [ "$argument" = --list ]; then list=1; else arguments+=("$argument"); fi
    case $argument in --*) option=${argument%%=*} ;; esac # the other words are its values
    case $option in
        --config) config=1 ;;
        --device | --data-dir | --data_dir | --plugin) shared+=("$argument") ;;
    esac
done
# A file of options may name another folder for the results. This script looks for them in one.
[ -z "$config" ] || [ -n "$given_runs" ] || arguments+=(--runs runs)
if [ -z "$list" ] && [ -z "${PYTHON-}" ]; then
    . utils/environment.sh
    use_environment requirements.txt || exit
fi
failed=0 first=1 finished=0

perform() {
    if [ -n "$list" ]; then
        printf '%q ' "$@"
        echo
        return
    fi
    run "$@"
    local status=$?
    case $status in 75 | 130 | 138 | 143) exit 75 ;; esac # interrupted
    [ $status -eq 2 ] && [ $first ] && exit 2 # bad input of the very first run is most likely the same for all runs
    [ $status -eq 0 ] || failed=$status
    case $status in 0 | 3) ;; *) echo "failed ($status): $*" >&2 ;; esac # 3: another process makes this run, and main.py has printed so
    first=''
}

# Whether to perform or list the run in a folder ($1). Finished runs are not listed.
is_left() {
    [ -n "$list" ] && [ -f "$1/metrics.json" ] || return 0
    finished=$((finished + 1))
    return 1
}

# Whether to perform or list a command that needs the runs of a loss ($1) with some seeds ($2). It is listed only if all of them are
# finished.
has_runs() {
    [ -n "$list" ] || return 0
    for seed in $2; do [ -f "$folder/$1/$seed/metrics.json" ] || return 1; done
}

python=${PYTHON:-python} folder=${given_runs:-runs}/$(basename "$1")/$2
for loss in $LOSSES; do
    case $loss in
        ensemble)
            members=$(printf '%s\n' $SEEDS | sort -nu | paste -sd + -) # ensemble.py names its folder in this way
            has_runs softmax "$SEEDS" && is_left "$folder/ensemble/$members" &&
                perform "$python" ensemble.py "$folder/softmax" --members $SEEDS
            ;;
        godin_preprocessing)
            for seed in $SEEDS; do
                [ -n "$list" ] && grep -qs '"preprocessing"' "$folder/godin/$seed/metrics.json" && continue
                has_runs godin "$seed" || continue
                perform "$python" detect.py "$folder/godin/$seed" --scores preprocessing ${shared[@]+"${shared[@]}"}
            done
            ;;
        *)
            for seed in $SEEDS; do
                is_left "$folder/$loss/$seed" || continue
                perform "$python" main.py --data "$1" --model "$2" --loss "$loss" --seed "$seed" ${arguments[@]+"${arguments[@]}"}
            done
            ;;
    esac
done
[ $finished -eq 0 ] || echo "left out: $finished finished" >&2
exit $failed
