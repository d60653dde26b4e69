#!/usr/bin/env bash
# Trains on a SLURM cluster: one process per GPU, which find each other through SLURM.
#
#   sbatch --nodes=2 launch/slurm.sh --config.data.dir=PICTURES --workdir=FOLDER
#
# Call it from the repository root. Arguments are passed on to ssimbad_jax.main;
# PICTURES and FOLDER must be seen by every node. CONFIG chooses another
# configuration: CONFIG=configs/benchmark_s32.py sbatch launch/slurm.sh ...
# Submitting the same line again continues an interrupted run.
#
# Once, before the first job, on a node with the same system:
#   make install
#   .venv/bin/python -m pip install "jax[cuda13]==0.10.2"
#
# For nodes with another number of GPUs change both 8s below, or give both
# options to sbatch.
#SBATCH --job-name=ssimbad
#SBATCH --nodes=1
#SBATCH --gpus-per-node=8
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%j.out
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?is set by SLURM: call this script with sbatch}"

python=.venv/bin/python
if ! [[ -x $python ]]; then
  echo "error: no $python in $PWD; install first, see the head of launch/slurm.sh" >&2
  exit 1
fi

# SLURM's own binding would hide the other GPUs of the node from each process,
# and JAX picks the process's GPU by its local rank among all of them.
srun --gpu-bind=none --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=1 \
  "$python" -m ssimbad_jax.main --distributed \
  --config="${CONFIG:-configs/edm_ssimbad.py}" "$@"
