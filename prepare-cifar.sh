#!/usr/bin/env bash
# Downloads and checks the paper's data; names choose: cifar10 cifar100 svhn fashionmnist tinyimagenet_resize lsun_resize, and for
# OpenOOD's groups tinyimagenet mnist textures places365; for ImageNet imagenet_o.
cd "$(dirname "$0")" || exit
. utils/environment.sh
use_environment requirements.txt || exit
exec "$PYTHON" -m data.prepare "$@"
