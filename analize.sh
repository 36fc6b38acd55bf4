#!/usr/bin/env bash
# The paper's tables from all finished runs; arguments go on to analyze.py.
. "$(dirname "$0")/utils/paths.sh"
read_arguments "$@"
cd "$(dirname "$0")" || exit
. utils/environment.sh
use_environment requirements.txt || exit
exec "$PYTHON" analyze.py ${arguments[@]+"${arguments[@]}"}
