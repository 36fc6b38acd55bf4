#!/usr/bin/env bash
# The paper's Table 2, CIFAR-100, DenseNet-BC-100.
# LOSSES="dismax softmax" and SEEDS="1 2" choose; --list shows the runs; all else goes to main.py.
export LOSSES=${LOSSES:-softmax scaledcosine godin godin_preprocessing isomaxplus dismax}
exec bash "$(dirname "$0")/utils/run_all.sh" cifar100 densenetbc100 --protocol paper "$@"
