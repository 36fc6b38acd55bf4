#!/usr/bin/env bash
# Submits the commands in a file, one per line, as an array of Slurm jobs:
#     bash run_cifar10_resnet34.sh --list > runs.txt
#     bash run_slurm.sh runs.txt [options of sbatch, such as --time=12:00:00 --partition=gpu --gpus=1]
# Two minutes before its time limit, Slurm warns a job. The job writes a checkpoint and is queued again to continue. The same happens
# if a job is preempted. A cancelled job also writes a checkpoint.
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -u
if [ -z "${SLURM_ARRAY_TASK_ID-}" ]; then # in the user's shell: find the interpreter for the jobs, and submit them
    . "$(dirname "$0")/utils/help.sh"
    . "$(dirname "$0")/utils/paths.sh"
    read_arguments "${@:2}"
    file=$(realpath -m "${1-}" 2>/dev/null)
    cd "$(dirname "$0")" || exit
    [ -f "$file" ] && [ -s "$file" ] || { echo "error: no commands in '${1-}': make the file with bash run_cifar10_resnet34.sh --list > runs.txt" >&2; exit 2; }
    . utils/environment.sh
    use_environment requirements.txt || exit
    export PYTHON
    exec sbatch --array="1-$(grep -c '' "$file")" --job-name="$(basename "$1")" ${arguments[@]+"${arguments[@]}"} run_slurm.sh "$file"
fi

# In a job. It starts in the folder from which it was submitted. Each line begins with the word python and is quoted for a shell.
command=$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")
python() { exec "$PYTHON" "$@"; }
child='' warned=''
stop() { [ -z "$child" ] || kill -TERM "$child" 2>/dev/null; }
trap 'warned=1; stop' USR1
trap stop TERM # the job is preempted (Slurm itself queues it again) or cancelled
eval "$command &"
child=$!
[ -z "$warned" ] || stop
while true; do
    wait $child
    status=$?
    kill -0 $child 2>/dev/null || break # if the child still runs, a trapped signal ended the wait
done
# 75: the run wrote a checkpoint. Above 128: the warning came before the run handled signals, or while it was ending.
if [ -n "$warned" ] && { [ $status -eq 75 ] || [ $status -gt 128 ]; }; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit $status
