#!/usr/bin/env bash
# The paper's Table 2, CIFAR-10, ResNet-34.
# LOSSES="dismax softmax" and SEEDS="1 2" choose; --list shows the runs; all else goes to main.py.
export LOSSES=${LOSSES:-softmax godin isomaxplus dismax}
exec bash "$(dirname "$0")/utils/run_all.sh" cifar10 resnet34 --protocol paper "$@"
