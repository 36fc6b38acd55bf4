#!/usr/bin/env bash
# Everything, offline, in minutes on a laptop: the losses on scikit-learn's digits, and the table.
# LOSSES="dismax softmax" and SEEDS="1 2" choose, RUNS=folder takes the results; --list shows the runs; all else goes to main.py.
cd "$(dirname "$0")" || exit
export LOSSES=${LOSSES:-softmax isomaxplus dismax_nofpr dismax} SEEDS=${SEEDS:-1 2 3}
set -- --precision fp32 --runs "${RUNS:=runs}" "$@" # fp32: the same everywhere
case " $* " in *" --list "*) exec bash utils/run_all.sh digits smallcnn "$@" ;; esac
. utils/environment.sh
use_environment requirements.txt || exit
export PYTHON                                # the runs take the same
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # so small a network only waits for its threads
bash utils/run_all.sh digits smallcnn "$@"
status=$?
[ $status -eq 2 ] || [ $status -eq 130 ] && exit $status
"$PYTHON" analyze.py --no-detail --runs "$RUNS/digits"
echo
echo "records, networks and predictions: $RUNS/digits; every score and metric: $PYTHON analyze.py --runs $RUNS"
exit $status
