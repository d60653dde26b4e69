"""The launch scripts start, continue and replace what they should, with stand-in clusters.

`tests/launch_campaign.py` does more of it, with real trainings that are interrupted.
"""

import json
import pathlib
import shutil
import socket
import subprocess
import sys

import pytest

from tests import program, stand_in_launchers, tiny_run

_LAUNCH = program.REPOSITORY / "launch"
FIELDS = {
    **tiny_run.FIELDS,
    "data.toy_faces_train": 16,
    "data.toy_faces_test": 8,
    "train.steps": 4,
    "train.checkpoint_every": 2,
    "train.validate_every": 4,
    "train.sample_every": 4,
    "train.validation_images": 4,
}


def flags(folder: pathlib.Path, **fields) -> list[str]:
    """Flags of main for a tiny run in `folder/run`."""
    fields = {**FIELDS, "data.prepared_dir": folder / "prepared", **fields}
    return [
        *(f"--config.{name.replace('__', '.')}={value}" for name, value in fields.items()),
        f"--workdir={folder / 'run'}",
    ]


def free_job() -> str:
    """The number of a SLURM job whose coordinator gets a port that is free."""
    for job in range(4096):
        with socket.socket() as candidate:
            try:
                candidate.bind(("localhost", stand_in_launchers.FIRST_PORT + job))
            except OSError:
                continue
            return str(job)
    raise AssertionError("no port is free")


def cluster(folder: pathlib.Path, **variables: str) -> dict[str, str]:
    """The variables of a cluster of two processes, with a device each."""
    folder.mkdir(exist_ok=True)
    return {
        **stand_in_launchers.install(folder),
        "STAND_IN_TASKS": "2",
        "JAX_NUM_CPU_DEVICES": "1",
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "SECONDS_BETWEEN_LOOKS": "0.05",
        **variables,
    }


def slurm_job(folder: pathlib.Path, **variables: str) -> dict[str, str]:
    """What SLURM tells a batch script."""
    return cluster(
        folder,
        SLURM_SUBMIT_DIR=str(program.REPOSITORY),
        SLURM_JOB_ID=free_job(),
        PYTHON=sys.executable,
        **variables,
    )


def tpu_slice(folder: pathlib.Path, repository: pathlib.Path, **variables: str) -> dict[str, str]:
    """What a user tells tpu_pod.sh; the workers clone the repository."""
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True
    ).stdout.strip()
    return cluster(
        folder,
        TPU="slice",
        ZONE="zone",
        TYPE="v5litepod-16",
        REPO=str(repository),
        REVISION=revision,
        STAND_IN_JOB=free_job(),
        **variables,
    )


def make_repository(folder: pathlib.Path, *, main: str | None = None) -> pathlib.Path:
    """Commits the working tree, or a program in the place of main, to a repository of its own."""
    folder.mkdir()
    shutil.copy(program.REPOSITORY / "requirements.txt", folder)
    if main is None:
        for package in ("ssimbad_jax", "configs"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(program.REPOSITORY / package, folder / package, ignore=ignored)
    else:
        (folder / "ssimbad_jax").mkdir()
        (folder / "ssimbad_jax" / "main.py").write_text(main)
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "-m", "all"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def launch(script: str, arguments: list[str], environment: dict[str, str]):
    """Runs a script to its end."""
    return subprocess.run(
        [_LAUNCH / script, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )


# What a worker runs instead of a training: it notes its flags, and waits to be ended if asked to.
_MAIN = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["STAND_IN_FOLDER"])
index = os.environ["SLURM_PROCID"]
name = f"started{len(list(folder.glob(f'started*.worker{index}')))}.worker{index}"
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
(folder / name).write_text(json.dumps(sys.argv[1:]))
if (folder / "wait").exists():
    (folder / "wait").unlink(missing_ok=True) if index == "1" else None
    time.sleep(30)
sys.exit(int(os.environ.get("STATUS", 0)))
"""


@pytest.fixture(scope="module")
def quick_repository(tmp_path_factory):
    """A repository whose main ends at once."""
    return make_repository(tmp_path_factory.mktemp("quick") / "repository", main=_MAIN)


def _verbs(folder):
    return [" ".join(call[2:4]) for call in stand_in_launchers.calls(folder, "gcloud")]


def test_tpu_pod_trains_from_nothing_with_the_flags_it_was_given(tmp_path, quick_repository):
    environment = tpu_slice(tmp_path / "cluster", quick_repository, CONFIG="configs/c d.py")
    done = launch("tpu_pod.sh", ["train", "--workdir=a b", "--config.x='y'"], environment)
    assert done.returncode == 0, done.stderr
    for index in (0, 1):
        (started,) = (tmp_path / "cluster").glob(f"started*.worker{index}")
        assert json.loads(started.read_text()) == [
            "--distributed",
            "--config=configs/c d.py",
            "--workdir=a b",
            "--config.x='y'",
        ]
    verbs = _verbs(tmp_path / "cluster")
    assert verbs[:2] == ["queued-resources describe", "queued-resources create"]
    assert verbs[-2:] == ["tpu-vm ssh", "tpu-vm ssh"]
