#!/usr/bin/env bash
# All runs of one data set and network: LOSSES × SEEDS, one after the other. What is finished is skipped.
#     utils/run_all.sh DATA MODEL [--list] [further arguments of main.py]
# --list prints the commands instead of running them. The exit status is that of the last run that failed.
set -u
cd "$(dirname "$0")/.." || exit
: "${LOSSES:=softmax isomax isomaxplus dismax_nofpr dismax}" "${SEEDS:=1 2 3 4 5}"
list='' arguments=()
for argument in "${@:3}"; do
    if [ "$argument" = --list ]; then list=1; else arguments+=("$argument"); fi
done
if [ -z "$list" ] && [ -z "${PYTHON-}" ]; then
    . utils/environment.sh
    use_environment requirements.txt || exit
fi
failed=0 first=1
for loss in $LOSSES; do
    for seed in $SEEDS; do
        run=("${PYTHON:-python}" main.py --data "$1" --model "$2" --loss "$loss" --seed "$seed" ${arguments[@]+"${arguments[@]}"})
        if [ -n "$list" ]; then
            echo "${run[*]}"
            continue
        fi
        "${run[@]}"
        status=$?
        [ $status -eq 130 ] && exit 130 # interrupted
        [ $status -eq 2 ] && [ $first ] && exit 2 # what the very first run cannot take is most likely common to all
        [ $status -eq 0 ] || { failed=$status; echo "failed ($status): ${run[*]}" >&2; }
        first=''
    done
done
exit $failed
