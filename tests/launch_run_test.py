"""The launch scripts start, continue and replace what they should, with stand-in clusters.

`python -m tests.launch_campaign` does more of it, with trainings that are interrupted.
"""

import json
import pathlib
import shlex
import subprocess
import sys
import time

import pytest

from ssimbad_jax.training import interruption
from tests import launching, stand_in_launchers

# What runs instead of a training: it notes its flags, and waits for a signal if it is told to.
_MAIN = """
import json, os, pathlib, signal, sys, time
folder, index = pathlib.Path(os.environ["STAND_IN_FOLDER"]), os.environ["SLURM_PROCID"]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
attempt = len(list(folder.glob(f"started?.worker{index}")))
(folder / f"started{attempt}.worker{index}").write_text(json.dumps(sys.argv[1:]))
if attempt < int(os.environ.get("ATTEMPTS_THAT_WAIT", 0)):
    time.sleep(60)
sys.exit(int(os.environ.get("STATUS_OF_WORKER" + index, 0)))
"""


@pytest.fixture(scope="module")
def quick_repository(tmp_path_factory):
    """A repository whose main ends at once."""
    return launching.make_repository(tmp_path_factory.mktemp("quick") / "repository", main=_MAIN)


def _verbs(folder: pathlib.Path) -> list[str]:
    """What gcloud was asked for, without the looks at the state."""
    called = [call[3] for call in stand_in_launchers.calls(folder, "gcloud")]
    return [verb for verb in called if verb != "describe"]


def _started(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.glob("started*"))


def test_a_tpu_slice_is_made_and_every_worker_gets_the_flags(tmp_path, quick_repository):
    environment = launching.tpu_slice(tmp_path, quick_repository, CONFIG="configs/c d.py")
    done = launching.launch("tpu_pod.sh", ["train", "--workdir=a b", "--config.x='y'"], environment)
    assert done.returncode == 0, done.stderr
    assert _verbs(tmp_path) == ["create", "ssh", "ssh"]
    assert _started(tmp_path) == ["started0.worker0", "started0.worker1"]
    for name in _started(tmp_path):
        assert json.loads((tmp_path / name).read_text()) == [
            "--distributed",
            "--config=configs/c d.py",
            "--workdir=a b",
            "--config.x='y'",
        ]
    deleted = launching.launch("tpu_pod.sh", ["delete"], environment)
    assert deleted.returncode == 0, deleted.stderr
    assert not (tmp_path / "slice.state").exists()


def test_a_tpu_slice_that_is_taken_away_is_replaced_and_the_run_continued(
    tmp_path, quick_repository
):
    environment = launching.tpu_slice(
        tmp_path,
        quick_repository,
        ATTEMPTS_THAT_WAIT="1",
        STAND_IN_LOSSES="1",
        STAND_IN_LOSE_AT="started0.worker1",
    )
    done = launching.launch("tpu_pod.sh", ["train", "--workdir=w"], environment)
    assert done.returncode == 0, done.stderr
    assert "The run ended with status 255 and is continued." in done.stdout
    assert _verbs(tmp_path) == ["create", "ssh", "ssh", "delete", "create", "ssh", "ssh"]
    assert (tmp_path / "started1.worker1").exists()


def test_a_run_on_a_tpu_that_fails_by_itself_is_not_repeated(tmp_path, quick_repository):
    environment = launching.tpu_slice(tmp_path, quick_repository, STATUS_OF_WORKER1="3")
    done = launching.launch("tpu_pod.sh", ["train"], environment)
    assert done.returncode == 3
    assert _verbs(tmp_path) == ["create", "ssh", "ssh"]


def test_stop_ends_a_run_on_a_tpu_with_the_status_of_good_order(tmp_path, quick_repository):
    environment = launching.tpu_slice(tmp_path, quick_repository, ATTEMPTS_THAT_WAIT="1")
    for word in ("create", "install"):
        assert launching.launch("tpu_pod.sh", [word], environment).returncode == 0
    with subprocess.Popen([launching.LAUNCH / "tpu_pod.sh", "run"], env=environment) as running:
        while len(_started(tmp_path)) < 2:
            assert running.poll() is None
            time.sleep(0.02)
        stopped = launching.launch("tpu_pod.sh", ["stop"], environment)
        assert stopped.returncode == 0, stopped.stderr
        assert running.wait(30) == interruption.EXIT_STATUS


def _with_quick_main(folder: pathlib.Path, **variables: str) -> dict[str, str]:
    """A SLURM job in which `python -m ssimbad_jax.main` is `_MAIN`."""
    (folder / "main.py").write_text(_MAIN)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {folder}/main.py "$@"\n')
    python.chmod(0o755)
    return {**launching.slurm_job(folder, **variables), "PYTHON": str(python)}


@pytest.mark.parametrize(
    ("statuses", "is_queued_again"), [("75 75", True), ("0 0", False), ("3 0", False)]
)
def test_a_slurm_job_is_queued_again_where_a_signal_stopped_it(tmp_path, statuses, is_queued_again):
    first, second = statuses.split()
    environment = _with_quick_main(tmp_path, STATUS_OF_WORKER0=first, STATUS_OF_WORKER1=second)
    done = launching.launch("slurm.sh", ["--workdir=a b"], environment)
    assert done.returncode == int(first), done.stderr
    assert len(_started(tmp_path)) == 2
    requeued = stand_in_launchers.calls(tmp_path, "scontrol")
    assert requeued == ([["requeue", environment["SLURM_JOB_ID"]]] if is_queued_again else [])


def test_a_dry_run_prints_what_a_run_calls_and_runs_nothing(tmp_path, quick_repository):
    environment = launching.tpu_slice(tmp_path, quick_repository)
    given = ["train", "--workdir=it's a b"]
    printed = launching.launch("tpu_pod.sh", ["--dry-run", *given], environment)
    assert printed.returncode == 0, printed.stderr
    assert stand_in_launchers.calls(tmp_path, "gcloud") == []
    planned = [shlex.split(line)[1:] for line in printed.stdout.splitlines()]
    assert launching.launch("tpu_pod.sh", given, environment).returncode == 0
    called = stand_in_launchers.calls(tmp_path, "gcloud")
    assert [call for call in called if call in planned] == called
    assert [call for call in planned if call in called] == planned


def test_a_dry_run_of_slurm_prints_the_step_and_runs_nothing(tmp_path):
    environment = _with_quick_main(tmp_path)
    printed = launching.launch("slurm.sh", ["--dry-run", "--workdir=a b"], environment)
    assert printed.returncode == 0, printed.stderr
    assert stand_in_launchers.calls(tmp_path, "srun") == []
    assert launching.launch("slurm.sh", ["--workdir=a b"], environment).returncode == 0
    (called,) = stand_in_launchers.calls(tmp_path, "srun")
    assert shlex.split(printed.stdout) == ["srun", *called]


@pytest.mark.slow
def test_two_tasks_of_slurm_train_together(tmp_path):
    """A real training: JAX finds the other process by SLURM's variables."""
    done = launching.launch(
        "slurm.sh",
        [*launching.flags(tmp_path), "--stages=calibrate,train"],
        launching.slurm_job(tmp_path / "cluster"),
    )
    assert done.returncode == 0, done.stderr
    assert "2 device(s), a new run" in done.stdout
    assert (
        tmp_path / "run" / "checkpoints" / "pretrain" / str(launching.FIELDS["train.steps"])
    ).is_dir()
    assert stand_in_launchers.calls(tmp_path / "cluster", "scontrol") == []
