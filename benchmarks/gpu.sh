#!/usr/bin/env bash
# All that needs an NVIDIA GPU, for a machine that has one for a few minutes: the tests marked cuda, and how fast main.py trains
# the paper's networks. The most important parts come first.
#     bash benchmarks/gpu.sh [FOLDER [SECONDS]]     # what is printed goes to FOLDER too, by default to gpu
# It ends after SECONDS, by default 240, and lists what was not done in time. PYTHON names the interpreter, by default python3.
cd "$(dirname "$0")/.." || exit
folder=${1:-gpu} limit=${2:-240} python=${PYTHON:-python3} failed=0
case $limit in
    *[!0-9]* | 0*)
        echo "error: SECONDS must be a whole number above 0, got $limit" >&2
        exit 2
        ;;
esac
if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "error: PyTorch finds no CUDA GPU here: nothing was done" >&2
    exit 2
fi
mkdir -p "$folder" || exit
# With CUDA below 12.6 the profiler can hang when a process that captured a graph ends.
export TEARDOWN_CUPTI=0 DISABLE_CUPTI_LAZY_REINIT=1
part() { # NAME COMMAND...
    local started=$SECONDS status=124 name=$1
    shift
    if [ $((limit - SECONDS)) -gt 0 ]; then
        timeout --kill-after=5 $((limit - SECONDS)) "$@" 2>&1 | tee "$folder/$name.txt"
        status=${PIPESTATUS[0]}
    fi
    local said="status $status"
    [[ $status != 124 && $status != 137 ]] || said="not done in time" # 137: it had to be killed
    echo "$name: $said after $((SECONDS - started)) s" | tee -a "$folder/summary.txt"
    [ "$status" -eq 0 ] || failed=$status
}
tests() { # NAME ARGUMENTS...
    part "$1" "$python" -m pytest -p no:cacheprovider "${@:2}"
}
{ git rev-parse HEAD; nvidia-smi --query-gpu=name,driver_version --format=csv,noheader; } 2>&1 | tee "$folder/summary.txt"
tests waits -m cuda tests/training/test_placement.py # names the operation that waits; a capture that fails does not
tests graph -m "cuda and not slow" tests/training/test_graph.py tests/training/test_precision.py
for network in resnet34 densenetbc100 wideresnet2810; do
    part "training_$network" "$python" -m benchmarks.training --models $network --images 1280 --repeats 3
done
part epoch "$python" -m benchmarks.epoch --model resnet34 --precision bf16 --images 20000 --epochs 7
tests others -m "cuda and not slow" tests --ignore=tests/training/test_graph.py --ignore=tests/training/test_placement.py --ignore=tests/training/test_precision.py
tests killed -m "cuda and slow" tests
part together "$python" -m benchmarks.together --models resnet34 --counts 1 4 --seconds 5
part compiled "$python" -m benchmarks.training --models resnet34 --images 1280 --repeats 3 --compiled
exit $failed
