#!/usr/bin/env bash
# The commands of a file, one a line, as an array of Slurm jobs:
#     bash run_cifar10_resnet34.sh --list > runs.txt
#     bash run_slurm.sh runs.txt [options of sbatch, such as --time=12:00:00 --partition=gpu --gpus=1]
# Two minutes before its time limit a job is warned, writes a checkpoint, and is queued again to go on; so it is when preempted.
# One that is cancelled writes a checkpoint too.
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -u
if [ -z "${SLURM_ARRAY_TASK_ID-}" ]; then # the user's shell: set up what the jobs need, and submit them
    file=$(realpath -m "${1-}" 2>/dev/null)
    cd "$(dirname "$0")" || exit
    [ -f "$file" ] && [ -s "$file" ] || { echo "error: no commands in '${1-}': make it with bash run_cifar10_resnet34.sh --list > runs.txt" >&2; exit 2; }
    . utils/environment.sh
    use_environment requirements.txt || exit
    export PYTHON
    exec sbatch --array="1-$(grep -c '' "$file")" --job-name="$(basename "$1")" "${@:2}" run_slurm.sh "$file"
fi

# A job. It starts in the folder that it was submitted from. Lines begin with the word python, quoted for a shell.
command=$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")
python() { exec "$PYTHON" "$@"; }
child='' warned=''
stop() { [ -z "$child" ] || kill -TERM "$child" 2>/dev/null; }
trap 'warned=1; stop' USR1
trap stop TERM # preempted, which Slurm itself queues again, or cancelled
eval "$command &"
child=$!
[ -z "$warned" ] || stop
while true; do
    wait $child
    status=$?
    kill -0 $child 2>/dev/null || break # else it was a trapped signal that ended the wait
done
# 75: it wrote a checkpoint. Above 128: the warning came before it listened, or while it ended.
if [ -n "$warned" ] && { [ $status -eq 75 ] || [ $status -gt 128 ]; }; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit $status
