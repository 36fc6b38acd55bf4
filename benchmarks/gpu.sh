#!/usr/bin/env bash
# What needs an NVIDIA GPU, for a machine that has one for a few minutes: the tests marked cuda, with a training step as a graph
# against the same step operation by operation, and then how fast main.py trains the paper's networks.
#     bash benchmarks/gpu.sh [FOLDER]     # the tables go to FOLDER too, by default to gpu
# Each part is stopped at its time limit, four minutes together. PYTHON names the interpreter, by default python.
cd "$(dirname "$0")/.." || exit
folder=${1:-gpu} python=${PYTHON:-python} failed=0
mkdir -p "$folder" || exit
part() { # NAME SECONDS COMMAND...
    local started=$SECONDS status
    timeout --kill-after=5 "$2" "${@:3}" 2>&1 | tee "$folder/$1.txt"
    status=${PIPESTATUS[0]}
    echo "$1: status $status after $((SECONDS - started)) s" | tee -a "$folder/summary.txt"
    [ "$status" -eq 0 ] || failed=$status
}
{ git rev-parse HEAD && nvidia-smi --query-gpu=name,driver_version --format=csv,noheader; } 2>&1 | tee "$folder/summary.txt"
part graph 50 "$python" -m pytest -m "cuda and not slow" tests/test_graph.py -p no:cacheprovider
for network in resnet34 densenetbc100 wideresnet2810; do
    part "training_$network" 25 "$python" -m benchmarks.training --models $network --images 1280 --repeats 3
done
part tests 30 "$python" -m pytest -m "cuda and not slow" tests --ignore=tests/test_graph.py -p no:cacheprovider
part epoch 20 "$python" -m benchmarks.epoch --model resnet34 --precision bf16 --images 20000 --epochs 7
part killed 25 "$python" -m pytest -m "cuda and slow" tests -p no:cacheprovider
part compiled 40 "$python" -m benchmarks.training --models resnet34 --images 1280 --repeats 3 --compiled
exit $failed
