#!/usr/bin/env bash
# Trains on a Cloud TPU slice: the same command on every worker, which find each other.
#
#   export TPU=NAME ZONE=europe-west4-b TYPE=v5litepod-16 REPO=URL
#   launch/tpu_pod.sh train --config.data.dir=PICTURES --workdir=FOLDER \
#     --config.refine.batch_size=16
#   launch/tpu_pod.sh delete
#
# train asks for spot machines, waits for them, installs and runs, and does all
# of it again whenever they are taken away, until the run is done. Or one by one:
#
#   create     asks for the slice and waits until it is up; replaces a lost one
#   install    clones REPO on every worker and installs; again: brings it up to date
#   run FLAGS  runs ssimbad_jax.main with these flags, from the last checkpoint on
#   stop       ends a run in good order whose terminal is closed; train would resume it
#   delete     gives the slice back: it costs money until then
#
# --dry-run before the word prints the commands and runs none of them.
#
# Keep the terminal of train open, for example in tmux. If its connection breaks
# while the slice is up, the run goes on without it: call stop, then train again.
#
# PICTURES and FOLDER must be the same folder on every worker, for example a
# Filestore share or a bucket mounted with gcsfuse. Batches must be multiples of
# the number of chips: the paper's refinement has 2 pictures, here 16 for 16. TPU
# is a name of your choice. CONFIG chooses another configuration, REVISION another
# commit than that of this clone (it has to be in REPO), RUNTIME another system
# image, and SPOT=false machines that are not taken away.
set -euo pipefail

run_it_again=75 # the exit status of a run that a signal stopped in good order
seconds_between_looks=${SECONDS_BETWEEN_LOOKS:-30}
looks_for_a_loss=10 # the state of a lost slice changes minutes after its connections break

dry_run=false
if [[ ${1-} == --dry-run ]]; then
  dry_run=true
  shift
fi
: "${TPU:?is the name of the TPU slice}"
: "${ZONE:?is the zone of the TPU slice, for example europe-west4-b}"
: "${TYPE:?is the type of the TPU slice, for example v5litepod-16}"
: "${REPO:?is the address to clone the repository from}"

tpus() {
  if ! $dry_run; then
    gcloud compute tpus "$@"
    return
  fi
  local word apostrophe="'" escaped="'\\''"
  printf 'gcloud compute tpus'
  for word in "$@"; do
    case $word in
      *[!a-zA-Z0-9_./:=-]*) printf " '%s'" "${word//$apostrophe/$escaped}" ;;
      *) printf ' %s' "$word" ;;
    esac
  done
  echo
}

on_every_worker() {
  tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

state() {
  tpus queued-resources describe "$TPU" --zone="$ZONE" --format='value(state.state)'
}

request() {
  local image=tpu-ubuntu2204-base spot=--spot
  case $TYPE in
    v5litepod-*) image=v2-alpha-tpuv5-lite ;;
    v5p-*) image=v2-alpha-tpuv5 ;;
    v6e-*) image=v2-alpha-tpuv6e ;;
  esac
  if [[ ${SPOT:-true} == false ]]; then spot=; fi
  tpus queued-resources create "$TPU" --node-id="$TPU" --zone="$ZONE" \
    --accelerator-type="$TYPE" --runtime-version="${RUNTIME:-$image}" ${spot:+"$spot"}
}

delete() {
  tpus queued-resources delete "$TPU" --zone="$ZONE" --force --quiet
}

create() {
  if $dry_run; then
    state && request
    return
  fi
  while true; do
    case $(state 2> /dev/null || echo ABSENT) in
      ACTIVE) return ;;
      ABSENT) request || return ;;
      SUSPENDED) delete || return ;;
      FAILED)
        echo "error: the request for $TPU has failed; call delete before another create:" >&2
        tpus queued-resources describe "$TPU" --zone="$ZONE" >&2
        return 1
        ;;
      *) sleep "$seconds_between_looks" ;;
    esac
  done
}

install() {
  local revision=${REVISION-}
  if [[ -z $revision ]]; then
    revision=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse HEAD) || return
  fi
  # The workers' own Python can be older than 3.11, so uv fetches one.
  on_every_worker "set -e; \
test -d ssimbad_jax || git clone --quiet $(printf %q "$REPO") ssimbad_jax; \
cd ssimbad_jax; git fetch --quiet origin; git checkout --quiet --detach $revision; \
python3 -m pip install --quiet --user uv; \
test -d .venv || python3 -m uv venv --quiet --python 3.12 .venv; \
python3 -m uv pip install --quiet --python .venv -r requirements.txt 'jax[tpu]==0.12.0.1'"
}

run() {
  local flags
  flags=$(printf ' %q' --distributed "--config=${CONFIG:-configs/edm_ssimbad.py}" "$@")
  on_every_worker "cd ssimbad_jax && echo \$\$ > run.pid && \
exec .venv/bin/python -m ssimbad_jax.main$flags"
}

stop() {
  on_every_worker 'xargs kill -TERM < ssimbad_jax/run.pid'
}

is_lost() {
  local look
  for ((look = 0; look < looks_for_a_loss; look++)); do
    if [[ $(state) != ACTIVE ]]; then return; fi
    sleep "$seconds_between_looks"
  done
  return 1
}

train() {
  local status
  while true; do
    create || return
    status=0
    { install && run "$@"; } || status=$?
    if $dry_run || ((status == 0)); then return "$status"; fi
    if ((status != run_it_again)) && ! is_lost; then return "$status"; fi
    echo "The run ended with status $status and is continued."
  done
}

case ${1-} in
  train | create | install | run | stop | delete) "$@" ;;
  *)
    echo "error: choose train, create, install, run, stop or delete; see the head of $0" >&2
    exit 2
    ;;
esac
