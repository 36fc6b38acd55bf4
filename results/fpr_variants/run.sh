#!/usr/bin/env bash
# Makes the runs of this study, two at a time, with one thread each.
#
# Start it again after a stop: finished runs are skipped, and others go on at their checkpoint.
# Usage: bash results/fpr_variants/run.sh DATA RUNS LOSSES SEEDS
# The choice:    run.sh /data /study/variants "dismax_growing dismax_blended dismax_quarter" "1 2"
# The judgement: run.sh /data /study/variants "THE_CHOSEN_ONE" "3 4 5 6 7"
#                run.sh /data /study/variants "dismax dismax_nofpr" "4 5 6 7"
# DATA has CIFAR-10/train.npz, CIFAR-10/test.npz, and the four out-of-distribution sets.
set -u
data=$1 runs=$2 losses=$3 seeds=$4

one_run() {
  python main.py --data "$data/CIFAR-10" --model wideresnet102 --epochs 15 --loss "$1" \
    --seed "$2" --precision bf16 --plugin results/fpr_variants/variants.py --runs "$runs" \
    --ood near="$data/CIFAR-100.npz" far="$data/SVHN-crops.npz" "$data/TinyImageNet-32.npz" \
    "$data/Scenes-32.npz"
}

export -f one_run
export data runs OMP_NUM_THREADS=1
for seed in $seeds; do
  for loss in $losses; do
    echo "$loss $seed"
  done
done | xargs -P 2 -L 1 bash -c 'one_run "$@"' run
