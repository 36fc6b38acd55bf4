#!/usr/bin/env bash
# The same as ../prepare-cifar.sh, for users who look for it in this folder.
exec bash "$(dirname "$0")/../prepare-cifar.sh" "$@"
