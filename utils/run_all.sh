#!/usr/bin/env bash
# All runs of one data set and network: LOSSES × SEEDS, one after the other. What is finished is skipped.
#     utils/run_all.sh DATA MODEL [--list] [further arguments of main.py]
# Two words in LOSSES are no training: `ensemble` makes a Deep Ensemble of the SoftMax runs of SEEDS, and `godin_preprocessing`
# scores GODIN's runs with preprocessed inputs. --list prints, a command a line, what is left to do and can be done now, in any
# order: no finished run, and of the two words only what has its runs. The exit status is that of the last command that failed.
set -uf # f: LOSSES='*' is no list of files
. "$(dirname "$0")/stopping.sh"
. "$(dirname "$0")/paths.sh"
read_arguments "$@"
set -- "${arguments[@]}"
cd "$(dirname "$0")/.." || exit
: "${LOSSES:=softmax isomax isomaxplus dismax_nofpr dismax}" "${SEEDS:=1 2 3 4 5}"
list='' arguments=() shared=() last=''
for argument in "${@:3}"; do
    if [ "$argument" = --list ]; then list=1; else arguments+=("$argument"); fi
    option=$last value=$argument
    case $argument in --*=*) option=${argument%%=*} value=${argument#*=} ;; esac
    case $option in
        --device | --data-dir | --data_dir) shared+=("$option" "$value") ;;
    esac
    last=$argument
done
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
    [ $status -eq 2 ] && [ $first ] && exit 2 # what the very first run cannot take is most likely common to all
    [ $status -eq 0 ] || failed=$status
    case $status in 0 | 3) ;; *) echo "failed ($status): $*" >&2 ;; esac # 3: another process makes it, as main.py has said
    first=''
}

# Whether a run is to be performed or listed: when listing, not if it is finished.
wanted() {
    [ -n "$list" ] && [ -f "$1/metrics.json" ] || return 0
    finished=$((finished + 1))
    return 1
}

# Whether to perform or list what needs the runs of a loss: when listing, only if these are all finished.
ready() {
    [ -n "$list" ] || return 0
    for seed in $2; do [ -f "$folder/$1/$seed/metrics.json" ] || return 1; done
}

python=${PYTHON:-python} folder=${given_runs:-runs}/$(basename "$1")/$2
for loss in $LOSSES; do
    case $loss in
        ensemble)
            members=$(printf '%s\n' $SEEDS | sort -nu | paste -sd + -) # as ensemble.py names its folder
            ready softmax "$SEEDS" && wanted "$folder/ensemble/$members" &&
                perform "$python" ensemble.py "$folder/softmax" --members $SEEDS
            ;;
        godin_preprocessing)
            for seed in $SEEDS; do
                [ -n "$list" ] && grep -qs '"preprocessing"' "$folder/godin/$seed/metrics.json" && continue
                ready godin "$seed" || continue
                perform "$python" detect.py "$folder/godin/$seed" --scores preprocessing ${shared[@]+"${shared[@]}"}
            done
            ;;
        *)
            for seed in $SEEDS; do
                wanted "$folder/$loss/$seed" || continue
                perform "$python" main.py --data "$1" --model "$2" --loss "$loss" --seed "$seed" ${arguments[@]+"${arguments[@]}"}
            done
            ;;
    esac
done
[ $finished -eq 0 ] || echo "left out: $finished finished" >&2
exit $failed
