#!/usr/bin/env bash
# The paper's Table 2, CIFAR-100, WideResNet-28-10.
# LOSSES="dismax softmax" and SEEDS="1 2" choose; --list shows the runs; all else goes to main.py.
export LOSSES=${LOSSES:-softmax ensemble duq sngp scaledcosine isomaxplus dismax}
exec bash "$(dirname "$0")/utils/run_all.sh" cifar100 wideresnet2810 --protocol paper "$@"
