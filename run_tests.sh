#!/usr/bin/env bash
# The tests, from nothing; arguments go on to pytest (`-m slow` for the long ones).
cd "$(dirname "$0")" || exit
. utils/environment.sh
use_environment tests/requirements.txt || exit
export OMP_NUM_THREADS=1 # two workers share the cores
exec "$PYTHON" -m pytest -n 2 "$@"
