#!/usr/bin/env bash
# Trains on a SLURM cluster: one process per GPU, which find each other through SLURM.
#
#   sbatch --nodes=2 launch/slurm.sh --config.data.dir=PICTURES --workdir=FOLDER \
#     --config.refine.batch_size=16
#   launch/slurm.sh --dry-run ...    prints the command of a job and runs nothing
#
# Call it from the repository root. Arguments are passed on to ssimbad_jax.main;
# PICTURES and FOLDER must be seen by every node. Batches must be multiples of the
# number of GPUs: the paper's refinement has 2 pictures, here 16 for 16. CONFIG
# chooses another configuration:
#   CONFIG=configs/benchmark_s32.py sbatch launch/slurm.sh ...
#
# The job is queued again when its time is up, when it is preempted and when a
# node fails, and continues from its last checkpoint. It ends for good when it
# is done or its own fault stops it; submitting the same line again continues it.
#
# Once, before the first job, on a node with the same system:
#   make install
#   .venv/bin/python -m pip install "jax[cuda13]==0.12.0.1"
# PYTHON names another interpreter, such as that of a module or a container.
#
# For nodes with another number of GPUs change both 8s below, or give both
# options to sbatch.
#SBATCH --job-name=ssimbad
#SBATCH --nodes=1
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out
set -euo pipefail

run_it_again=75 # the exit status of a run that a signal stopped in good order

dry_run=false
if [[ ${1-} == --dry-run ]]; then
  dry_run=true
  shift
else
  cd "${SLURM_SUBMIT_DIR:?is set by SLURM: call this script with sbatch}"
fi

python=${PYTHON:-.venv/bin/python}
if ! $dry_run && ! [[ -x $python ]]; then
  echo "error: no $python in $PWD; install first, see the head of launch/slurm.sh" >&2
  exit 1
fi

# SLURM's own binding would hide the other GPUs of the node from each process,
# and JAX picks the process's GPU by its local rank among all of them. The first
# process to end must not end the others, which may still be saving; one that
# died is noticed by the others themselves, and --wait is for the case that not.
command=(
  srun --gpu-bind=none --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0 --wait=600
  "$python" -m ssimbad_jax.main --distributed
  --config="${CONFIG:-configs/edm_ssimbad.py}" "$@"
)
if $dry_run; then
  printf '%q' "${command[0]}"
  printf ' %q' "${command[@]:1}"
  echo
  exit
fi

status=0
"${command[@]}" || status=$?
if ((status == run_it_again)); then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
