#!/usr/bin/env bash
# Runs everything that needs an NVIDIA GPU: the tests marked cuda, and the benchmarks of training the paper's networks. It suits a
# machine that is available for a few minutes: the most important steps come first.
#     bash benchmarks/gpu.sh [FOLDER [SECONDS]]     # the output is also written to FOLDER, by default gpu
# It ends after SECONDS, by default 240, and lists the steps that were not done in time. PYTHON names the interpreter, by default
# python3.
. "$(dirname "$0")/../utils/help.sh"
. "$(dirname "$0")/../utils/paths.sh"
folder=${1:-gpu}
[ -z "${1-}" ] || folder=$(absolute_path "$1")
cd "$(dirname "$0")/.." || exit
limit=${2:-240} python=${PYTHON:-python3} failed=0
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
step() { # NAME COMMAND...
    local started=$SECONDS status=124 name=$1
    shift
    if [ $((limit - SECONDS)) -gt 0 ]; then
        timeout --kill-after=5 $((limit - SECONDS)) "$@" 2>&1 | tee "$folder/$name.txt"
        status=${PIPESTATUS[0]}
    fi
    local result="status $status"
    [[ $status != 124 && $status != 137 ]] || result="not done in time" # 137: it was killed
    echo "$name: $result after $((SECONDS - started)) s" | tee -a "$folder/summary.txt"
    [ "$status" -eq 0 ] || failed=$status
}
tests() { # NAME ARGUMENTS...
    step "$1" "$python" -m pytest -p no:cacheprovider "${@:2}"
}
{ git rev-parse HEAD; nvidia-smi --query-gpu=name,driver_version --format=csv,noheader; } 2>&1 | tee "$folder/summary.txt"
tests waits -m cuda tests/training/test_placement.py # names the operation that waits for the GPU; a failed capture does not name it
tests graph -m "cuda and not slow" tests/training/test_graph_on_gpu.py tests/training/test_precision.py
for network in resnet34 densenetbc100 wideresnet2810; do
    step "training_$network" "$python" -m benchmarks.training --models $network --images 1280 --repeats 3
done
step epoch "$python" -m benchmarks.epoch --model resnet34 --precision bf16 --images 20000 --epochs 7
tests others -m "cuda and not slow" tests --ignore=tests/training/test_graph_on_gpu.py --ignore=tests/training/test_placement.py --ignore=tests/training/test_precision.py
tests killed -m "cuda and slow" tests
step together "$python" -m benchmarks.together --models resnet34 --counts 1 4 --seconds 5
step compiled "$python" -m benchmarks.training --models resnet34 --images 1280 --repeats 3 --compiled
exit $failed
