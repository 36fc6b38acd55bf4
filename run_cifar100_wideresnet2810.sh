#!/usr/bin/env bash
# Trains WideResNet-28-10 on CIFAR-100, as in the paper's Table 2.
# The variables LOSSES="dismax softmax" and SEEDS="1 2" choose the runs. --list prints the commands of the unfinished runs.
# All other arguments are passed to main.py: python main.py --help lists them.
. "$(dirname "$0")/utils/help.sh"
export LOSSES=${LOSSES:-softmax ensemble duq sngp scaledcosine isomaxplus dismax}
exec bash "$(dirname "$0")/utils/run_all.sh" cifar100 wideresnet2810 --protocol paper "$@"
