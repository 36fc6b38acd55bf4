#!/usr/bin/env bash
# Everything, offline, in minutes on a laptop: the losses on scikit-learn's digits, and the table.
# LOSSES="dismax softmax" and SEEDS="1 2" choose; arguments go on to main.py; --list shows the runs.
cd "$(dirname "$0")" || exit
: "${LOSSES:=softmax isomaxplus dismax_nofpr dismax}" "${SEEDS:=1 2 3}"
export LOSSES SEEDS
[ "${1-}" = --list ] && { shift; exec bash utils/run_all.sh --list digits smallcnn "$@"; }
. utils/environment.sh
use_environment requirements.txt || exit
export PYTHON # the runs take the same
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # so small a network only waits for its threads
bash utils/run_all.sh digits smallcnn "$@" || exit
"$PYTHON" analyze.py --no-detail --runs runs/digits
echo
echo "records, networks and predictions: runs/digits; every score and metric: $PYTHON analyze.py"
