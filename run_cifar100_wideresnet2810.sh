#!/usr/bin/env bash
# The paper's Table 2, CIFAR-100, WideResNet-28-10. LOSSES="dismax softmax" and SEEDS="1 2" choose; arguments go on to main.py; --list shows.
cd "$(dirname "$0")" || exit
: "${LOSSES:=softmax isomax isomaxplus dismax_nofpr dismax}" "${SEEDS:=1 2 3 4 5}"
export LOSSES SEEDS
list=; [ "${1-}" = --list ] && { list=--list; shift; }
exec bash utils/run_all.sh $list cifar100 wideresnet2810 --protocol paper "$@"
