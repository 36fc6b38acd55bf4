#!/usr/bin/env bash
# Downloads and checks data sets, into data/downloads. Without arguments: the first line of sets. Arguments choose sets by name:
#     the paper's, and fashionmnist: cifar10 cifar100 svhn fashionmnist tinyimagenet_resize lsun_resize
#     further sets for OpenOOD's groups: tinyimagenet mnist textures places365
#     for ImageNet: imagenet_o
. "$(dirname "$0")/utils/help.sh"
cd "$(dirname "$0")" || exit
. utils/environment.sh
use_environment requirements.txt || exit
exec "$PYTHON" -m data.prepare "$@"
