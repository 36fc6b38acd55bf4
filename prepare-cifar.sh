#!/usr/bin/env bash
# Downloads and checks the data; names (cifar10 cifar100 svhn fashionmnist tinyimagenet_resize lsun_resize) choose.
cd "$(dirname "$0")" || exit
. utils/environment.sh
use_environment requirements.txt || exit
exec "$PYTHON" -m data.prepare "$@"
