#!/usr/bin/env bash
# Trains the losses on scikit-learn's digits and prints the table: offline, in minutes on a laptop.
# --all runs every method and detector. --runs FOLDER names the folder for the results.
# The variables LOSSES="dismax softmax" and SEEDS="1 2" choose the runs. --list prints the commands of the unfinished runs.
# All other arguments are passed to main.py: python main.py --help lists them.
. "$(dirname "$0")/utils/help.sh"
. "$(dirname "$0")/utils/paths.sh"
read_arguments "$@"
[ -z "${RUNS-}" ] || RUNS=$(absolute_path "$RUNS")
cd "$(dirname "$0")" || exit
RUNS=${given_runs:-${RUNS:-runs}} all='' others=()
[ -n "$given_runs" ] || arguments=(--runs "$RUNS" ${arguments[@]+"${arguments[@]}"})
for argument in "${arguments[@]}"; do
    if [ "$argument" = --all ]; then all=1; else others+=("$argument"); fi
done
default_losses="softmax isomaxplus dismax_nofpr dismax"
# With --all: every row of the table of losses.
[ -z "$all" ] || default_losses="$(sed -n 's/^    "\([a-z_]*\)": Loss(.*/\1/p' losses/__init__.py | tr '\n' ' ')ensemble"
export LOSSES=${LOSSES:-$default_losses} SEEDS=${SEEDS:-1 2 3}
set -- --precision fp32 "${others[@]}" # the same precision on every machine
case " $* " in *" --list "*) exec bash utils/run_all.sh digits smallcnn "$@" ;; esac
. utils/environment.sh
use_environment requirements.txt || exit
export PYTHON                                # the runs use the same interpreter
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # a network this small is slower with more threads
run bash utils/run_all.sh digits smallcnn "$@"
status=$?
[ $status -eq 2 ] || [ $status -eq 75 ] && exit $status
if [ -n "$all" ]; then
    echo "measuring speed and memory, and scoring every run with the detectors of detect.py"
    run "$PYTHON" -m benchmarks.inference --models smallcnn --size 8 --classes 8 --batch 500 --members "$(wc -w <<<"$SEEDS")" \
        --precision fp32 --out "$RUNS/digits/efficiency.json" >/dev/null || status=$?
    run "$PYTHON" detect.py "$RUNS/digits" >/dev/null || status=$?
fi
run "$PYTHON" analyze.py "$RUNS/digits"
echo
echo "records, networks and predictions are in $RUNS/digits; to print every score and metric: $PYTHON analyze.py $RUNS/digits --detail"
exit $status
