#!/usr/bin/env bash
# All runs of one data set and network: LOSSES × SEEDS, one after the other. What is finished is skipped.
#     utils/run_all.sh [--list] DATA MODEL [further arguments of main.py]
# --list prints the commands instead of running them.
set -u
list=
[ "${1-}" = --list ] && { list=1; shift; }
if [ -z "$list" ] && [ -z "${PYTHON-}" ]; then
    . utils/environment.sh
    use_environment requirements.txt || exit
fi
data=$1 model=$2
shift 2
failed=0
for loss in $LOSSES; do
    for seed in $SEEDS; do
        run=("${PYTHON:-python}" main.py --data "$data" --model "$model" --loss "$loss" --seed "$seed" "$@")
        if [ -n "$list" ]; then
            echo "${run[*]}"
        else
            "${run[@]}"
            status=$?
            # Bad input and an interrupt would meet every further run too.
            [ $status -eq 2 ] || [ $status -eq 130 ] && exit $status
            [ $status -eq 0 ] || { failed=1; echo "failed ($status): ${run[*]}" >&2; }
        fi
    done
done
exit $failed
