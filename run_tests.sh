#!/usr/bin/env bash
# Runs the tests, and installs what they need first. All arguments are passed to pytest (`-m slow` runs the long tests).
. "$(dirname "$0")/utils/help.sh"
. "$(dirname "$0")/utils/paths.sh"
read_arguments "$@"
cd "$(dirname "$0")" || exit
. utils/environment.sh
use_environment tests/requirements.txt || exit
export OMP_NUM_THREADS=1 # two workers share the cores
exec "$PYTHON" -m pytest -n 2 ${arguments[@]+"${arguments[@]}"}
