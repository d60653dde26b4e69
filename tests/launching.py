"""Calls the launch scripts with a tiny run, in a cluster that `stand_in_launchers` plays."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
from typing import Any

from tests import program, stand_in_launchers, tiny_run

LAUNCH = program.REPOSITORY / "launch"
FIELDS = {
    **tiny_run.FIELDS,
    "data.toy_faces_train": 16,
    "data.toy_faces_test": 8,
    "model.channel_multipliers": (1,),
    "calibrate.num_sigmas": 16,
    "train.steps": 2,
    "train.checkpoint_every": 2,
    "train.validate_every": 2,
    "train.sample_every": 1000,
    "train.validation_images": 4,
}


def flags(folder: pathlib.Path, **fields: Any) -> list[str]:
    """Flags of main for a tiny run in `folder/run`; `train__steps=3` sets `train.steps`."""
    changed = {name.replace("__", "."): value for name, value in fields.items()}
    given = {**FIELDS, "data.prepared_dir": folder / "prepared", **changed}
    return [
        *(f"--config.{name}={value}" for name, value in given.items()),
        f"--workdir={folder / 'run'}",
    ]


def free_job() -> str:
    """The number of a SLURM job whose coordinator gets a port that is free."""
    first = os.getpid()  # tests that run at once begin to look in different places
    for job in ((first + offset) % 4096 for offset in range(4096)):
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
        **program.QUICK,
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
    """Commits the code as it is, or a program in the place of main, to a repository of its own."""
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


def launch(
    script: str, arguments: list[str], environment: dict[str, str]
) -> subprocess.CompletedProcess:
    """Runs a script to its end."""
    command = [LAUNCH / script, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)
