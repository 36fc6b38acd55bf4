#!/usr/bin/env bash
# Makes the runs of this study in their order, two at a time, with one thread each.
#
# Start it again after a stop: finished runs are skipped, and others go on at their checkpoint.
# Usage: bash results/schedule_or_capacity/run.sh [DATA [RUNS]]
# DATA has CIFAR-10/train.npz, CIFAR-10/test.npz, and the four out-of-distribution sets.
set -u
data=${1:-/data}
runs=${2:-/study}

# Prints a line for each loss: MODEL EPOCHS LOSS SEED
cell() {
  for loss in dismax dismax_nofpr softmax; do
    echo "$1 $2 $loss $3"
  done
}

all_runs() {
  cell wideresnet102 15 1
  cell wideresnet102 60 1
  cell wideresnet102 4 1
  cell resnet10 15 1
  cell resnet10 4 1
  for seed in 2 3; do
    cell wideresnet102 4 $seed
    cell wideresnet102 15 $seed
  done
  for seed in 2 3; do
    cell resnet10 4 $seed
    cell resnet10 15 $seed
    cell wideresnet102 60 $seed
  done
}

one_run() {
  python main.py --data "$data/CIFAR-10" --model "$1" --epochs "$2" --loss "$3" --seed "$4" \
    --precision bf16 --runs "$runs/$2-epochs" \
    --ood near="$data/CIFAR-100.npz" far="$data/SVHN-crops.npz" "$data/TinyImageNet-32.npz" \
    "$data/Scenes-32.npz"
}

export -f one_run
export data runs OMP_NUM_THREADS=1
all_runs | xargs -P 2 -L 1 bash -c 'one_run "$@"' run
