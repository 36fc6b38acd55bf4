#!/usr/bin/env bash
# Trains ResNet-18 on ImageNet-1k, with ImageNet-O as the near out-of-distribution set. Download the images yourself first, see
# docs/imagenet.md.
# The variables LOSSES="dismax softmax" and SEEDS="1 2" choose the runs. --list prints the commands of the unfinished runs.
# All other arguments are passed to main.py: python main.py --help lists them.
. "$(dirname "$0")/utils/help.sh"
export LOSSES=${LOSSES:-softmax dismax} SEEDS=${SEEDS:-1}
exec bash "$(dirname "$0")/utils/run_all.sh" imagenet1k resnet18_imagenet --protocol paper "$@"
