#!/usr/bin/env bash
# The same as ../prepare-cifar.sh, for those who look here.
exec bash "$(dirname "$0")/../prepare-cifar.sh" "$@"
