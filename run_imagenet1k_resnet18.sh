#!/usr/bin/env bash
# ImageNet-1k, ResNet-18, with ImageNet-O as near out-of-distribution set. The images are yours to fetch: see the README.
# LOSSES="dismax softmax" and SEEDS="1 2" choose; --list shows the runs; all else goes to main.py.
export LOSSES=${LOSSES:-softmax dismax} SEEDS=${SEEDS:-1}
exec bash "$(dirname "$0")/utils/run_all.sh" imagenet1k resnet18_imagenet --protocol paper "$@"
