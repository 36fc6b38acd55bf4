#!/usr/bin/env bash
# The paper's tables from all finished runs; arguments go on to analyze.py.
cd "$(dirname "$0")" || exit
. utils/environment.sh
use_environment requirements.txt || exit
exec "$PYTHON" analyze.py "$@"
