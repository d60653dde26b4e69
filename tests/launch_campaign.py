"""Interrupts trainings that the launch scripts started, and compares what comes out.

    python -m tests.launch_campaign

One run is left alone. A second is a SLURM job that gets a signal, as when its time is up, and is
queued again; a third trains on a TPU slice that is taken away and replaced. All three are two
processes; parameters, optimiser state and log have to be equal bit for bit. Takes minutes.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from absl import app, logging

from ssimbad_jax.training import interruption
from tests import launching, same_results, stand_in_launchers

# Long enough to be stopped in, after the first checkpoint.
FIELDS = {"train__steps": 60, "train__checkpoint_every": 10, "train__validate_every": 30}
FIRST_CHECKPOINT = "run/checkpoints/pretrain/10"
STAGES = "--stages=calibrate,train"


def _flags(folder: pathlib.Path) -> list[str]:
    return [*launching.flags(folder, **FIELDS), STAGES]


def _expect(done: subprocess.CompletedProcess, status: int) -> None:
    assert done.returncode == status, f"status {done.returncode}:\n{done.stdout}{done.stderr}"


def left_alone(folder: pathlib.Path) -> None:
    """A SLURM job that ends by itself."""
    _expect(launching.launch("slurm.sh", _flags(folder), launching.slurm_job(folder)), 0)


def queued_again(folder: pathlib.Path) -> None:
    """A SLURM job whose first half gets a signal; SLURM would start the second half."""
    environment = launching.slurm_job(folder)
    command = [launching.LAUNCH / "slurm.sh", *_flags(folder)]
    with subprocess.Popen(command, env=environment, start_new_session=True) as job:
        while not (folder / FIRST_CHECKPOINT).exists():
            assert job.poll() is None, "it ended before it could be stopped"
            time.sleep(0.01)
        step = int((folder / "srun.pid").read_text())
        begin = time.monotonic()
        os.kill(step, signal.SIGTERM)
        status = job.wait()
        print(f"slurm.sh: status {status} {time.monotonic() - begin:.1f} s after the signal")
    assert status == interruption.EXIT_STATUS
    assert stand_in_launchers.calls(folder, "scontrol") == [
        ["requeue", environment["SLURM_JOB_ID"]]
    ]
    done = launching.launch("slurm.sh", _flags(folder), environment)
    _expect(done, 0)
    assert "train: continues from step" in done.stdout


def taken_away(folder: pathlib.Path) -> None:
    """A TPU slice that is lost once."""
    repository = launching.make_repository(folder / "repository")
    environment = launching.tpu_slice(
        folder, repository, STAND_IN_LOSSES="1", STAND_IN_LOSE_AT=FIRST_CHECKPOINT
    )
    done = launching.launch("tpu_pod.sh", ["train", *_flags(folder)], environment)
    _expect(done, 0)
    assert "is continued" in done.stdout
    assert "train: continues from step" in done.stdout


def campaign(folder: pathlib.Path) -> None:
    """Runs, interrupts, compares, prints."""
    for run in (left_alone, queued_again, taken_away):
        (folder / run.__name__).mkdir()
        begin = time.monotonic()
        run(folder / run.__name__)
        print(f"{run.__name__}: ended after {time.monotonic() - begin:.0f} s", flush=True)
    whole = folder / left_alone.__name__ / "run"
    for run in (queued_again, taken_away):
        same_results.assert_same_parameters(whole, folder / run.__name__ / "run")
        same_results.assert_same_log(whole, folder / run.__name__ / "run")
        print(f"{run.__name__}: equal bit for bit to the run that was left alone", flush=True)


def main(argv: Sequence[str]) -> None:
    """Runs the campaign in a temporary folder, kept if it fails."""
    del argv
    logging.set_verbosity(logging.ERROR)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="launch_campaign_"))
    try:
        campaign(folder)
    except AssertionError as error:
        sys.exit(f"The campaign failed; its runs are in {folder}.\n{error}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    app.run(main)
