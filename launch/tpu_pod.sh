#!/usr/bin/env bash
# Trains on a Cloud TPU slice: the same command on every worker, which find each other.
#
#   REPO=URL TPU=NAME ZONE=ZONE launch/tpu_pod.sh --config.data.dir=PICTURES --workdir=FOLDER
#
# REPO is the address this repository is cloned from, TPU and ZONE name a slice
# that is up (gcloud compute tpus tpu-vm create ...). Arguments are passed on to
# ssimbad_jax.main. PICTURES and FOLDER must be the same folder on every worker,
# for example a Filestore share or a bucket mounted with gcsfuse. CONFIG chooses
# another configuration. Calling the same line again continues the run; the
# workers keep their clone and environment, brought up to date on each call.
set -euo pipefail

: "${REPO:?is the address to clone the repository from}"
: "${TPU:?is the name of the TPU slice}"
: "${ZONE:?is the zone of the TPU slice, for example europe-west4-b}"

flags=$(printf ' %q' --distributed "--config=${CONFIG:-configs/edm_ssimbad.py}" "$@")

# The workers' own Python can be older than 3.11, so uv fetches one.
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="
  set -euo pipefail
  test -d ssimbad_jax || git clone --quiet $(printf %q "$REPO") ssimbad_jax
  cd ssimbad_jax
  git pull --quiet --ff-only
  python3 -m pip install --quiet --user uv
  test -d .venv || python3 -m uv venv --quiet --python 3.12 .venv
  python3 -m uv pip install --quiet --python .venv -r requirements.txt 'jax[tpu]==0.10.2'
  .venv/bin/python -m ssimbad_jax.main$flags
"
