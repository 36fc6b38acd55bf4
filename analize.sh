#!/usr/bin/env bash
# Prints the paper's tables from all finished runs, or from those in the folders that it is given. All arguments are passed to
# analyze.py: python analyze.py --help lists them.
. "$(dirname "$0")/utils/help.sh"
. "$(dirname "$0")/utils/paths.sh"
words_are_folders=1
read_arguments "$@"
cd "$(dirname "$0")" || exit
. utils/environment.sh
use_environment requirements.txt || exit
exec "$PYTHON" analyze.py ${arguments[@]+"${arguments[@]}"}
