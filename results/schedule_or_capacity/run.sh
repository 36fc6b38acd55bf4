#!/usr/bin/env bash
# Makes the runs of this study in their order. Start it again after a stop.
#
# Usage: bash results/schedule_or_capacity/run.sh [DATA [RUNS]]
# ../two_at_once.sh says what is in DATA.
set -u
data=${1:-/data}
runs=${2:-/study}

# Prints the arguments of a run with each loss. Usage: cell MODEL EPOCHS SEED [--compile]
cell() {
  for loss in dismax dismax_nofpr softmax; do
    echo "--model $1 --epochs $2 --loss $loss --seed $3 --runs '$runs/$2-epochs'" "${@:4}"
  done
}

all_runs() {
  cell wideresnet102 15 1
  cell wideresnet102 60 1
  cell wideresnet102 4 1
  cell resnet10 15 1
  cell resnet10 4 1
  for seed in 2 3; do
    cell wideresnet102 4 $seed --compile
    cell wideresnet102 15 $seed --compile
  done
  for seed in 2 3; do
    cell wideresnet102 60 $seed --compile
    cell resnet10 4 $seed
    cell resnet10 15 $seed
  done
}

all_runs | bash results/two_at_once.sh "$data"
