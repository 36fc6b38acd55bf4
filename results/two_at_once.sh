#!/usr/bin/env bash
# Trains with each line of standard input as arguments, two runs at a time, with one thread each.
#
# Finished runs are skipped, and others go on at their checkpoint.
# Usage: bash results/two_at_once.sh DATA
# DATA has CIFAR-10/train.npz, CIFAR-10/test.npz, and the four out-of-distribution sets.
OMP_NUM_THREADS=1 xargs -P 2 -L 1 python main.py --data "$1/CIFAR-10" --precision bf16 \
  --ood near="$1/CIFAR-100.npz" far="$1/SVHN-crops.npz" "$1/TinyImageNet-32.npz" "$1/Scenes-32.npz"
