#!/usr/bin/env bash
# What needs an NVIDIA GPU, for a machine that has one for a few minutes: the tests marked cuda, with a training step as a graph
# against the same step operation by operation, and then how fast main.py trains the paper's networks.
#     bash benchmarks/gpu.sh [FOLDER [SECONDS]]     # the tables go to FOLDER too, by default to gpu
# It ends after SECONDS, by default 240. What there was no time for is listed. PYTHON names the interpreter, by default python3.
cd "$(dirname "$0")/.." || exit
folder=${1:-gpu} limit=${2:-240} python=${PYTHON:-python3} failed=0
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "error: PyTorch finds no CUDA GPU here: nothing was done" >&2
    exit 2
fi
mkdir -p "$folder" || exit
part() { # NAME COMMAND...
    local started=$SECONDS status=124 name=$1
    shift
    if [ $((limit - SECONDS)) -gt 0 ]; then
        timeout --kill-after=5 $((limit - SECONDS)) "$@" 2>&1 | tee "$folder/$name.txt"
        status=${PIPESTATUS[0]}
    fi
    local said="status $status"
    [ "$status" -ne 124 ] || said="not done in time"
    echo "$name: $said after $((SECONDS - started)) s" | tee -a "$folder/summary.txt"
    [ "$status" -eq 0 ] || failed=$status
}
{ git rev-parse HEAD; nvidia-smi --query-gpu=name,driver_version --format=csv,noheader; } 2>&1 | tee "$folder/summary.txt"
part graph "$python" -m pytest -m "cuda and not slow" tests/test_graph.py tests/test_precision.py -p no:cacheprovider
for network in resnet34 densenetbc100 wideresnet2810; do
    part "training_$network" "$python" -m benchmarks.training --models $network --images 1280 --repeats 3
done
part epoch "$python" -m benchmarks.epoch --model resnet34 --precision bf16 --images 20000 --epochs 7
part tests "$python" -m pytest -m "cuda and not slow" tests --ignore=tests/test_graph.py --ignore=tests/test_precision.py \
    -p no:cacheprovider
part killed "$python" -m pytest -m "cuda and slow" tests -p no:cacheprovider
part compiled "$python" -m benchmarks.training --models resnet34 --images 1280 --repeats 3 --compiled
part together "$python" -m benchmarks.together --models resnet34 --counts 1 4 --seconds 5
exit $failed
