#!/usr/bin/env bash
# The paper's Table 2, CIFAR-10, DenseNet-BC-100.
# LOSSES="dismax softmax" and SEEDS="1 2" choose; --list shows the runs; all else goes to main.py.
export LOSSES=${LOSSES:-softmax scaledcosine godin godin_preprocessing isomaxplus dismax_nofpr}
exec bash "$(dirname "$0")/utils/run_all.sh" cifar10 densenetbc100 --protocol paper "$@"
