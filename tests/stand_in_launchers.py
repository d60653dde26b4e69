"""Takes the place of `srun`, `scontrol`, `gcloud` and a TPU worker's `python3` in tests of launch/.

Each call is recorded, its arguments are checked, and what they ask for is started on this machine:
the tasks of a SLURM step, or the command of every worker of a TPU slice, with the variables that
SLURM gives to its tasks, by which JAX finds the others.

Variables say what it does: STAND_IN_FOLDER holds what is recorded, STAND_IN_TASKS is the number of
processes, STAND_IN_JOB that of the job, for TPUs. The first STAND_IN_LOSSES slices are taken away
once something in STAND_IN_FOLDER matches the pattern STAND_IN_LOSE_AT.
"""

import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
_POLL = 0.02  # seconds
# Of the coordinator of SLURM job 0, as JAX computes it from the number of the job.
FIRST_PORT = 65535 - 2**12 + 1

# Flags of each command that may be given, and whether they have to be.
_SRUN = {
    "--gpu-bind": True,
    "--cpus-per-task": True,
    "--kill-on-bad-exit": True,
    "--wait": False,
}
_GCLOUD: dict[tuple[str, str], dict[str, bool]] = {
    ("queued-resources", "create"): {
        "--node-id": True,
        "--zone": True,
        "--accelerator-type": True,
        "--runtime-version": True,
        "--spot": False,
    },
    ("queued-resources", "describe"): {"--zone": True, "--format": False},
    ("queued-resources", "delete"): {"--zone": True, "--force": True, "--quiet": True},
    ("tpu-vm", "ssh"): {"--zone": True, "--worker": True, "--command": True},
}


def install(folder: pathlib.Path) -> dict[str, str]:
    """Writes the commands into `folder/bin` and returns the variables to call them with."""
    commands = folder / "bin"
    commands.mkdir()
    for name in ("srun", "scontrol", "gcloud", "python3"):
        script = commands / name
        call = shlex.join([sys.executable, str(pathlib.Path(__file__).resolve()), name])
        script.write_text(f'#!/bin/sh\nexec {call} "$@"\n')
        script.chmod(0o755)
    return {**os.environ, "PATH": f"{commands}:/usr/bin:/bin", "STAND_IN_FOLDER": str(folder)}


def calls(folder: pathlib.Path, name: str) -> list[list[str]]:
    """Returns the arguments of every call of a command so far."""
    file = folder / f"{name}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _folder() -> pathlib.Path:
    return pathlib.Path(os.environ["STAND_IN_FOLDER"])


def _check(what: str, given: list[str], known: Mapping[str, bool]) -> dict[str, str]:
    """Returns the flags' values; unknown and missing ones end the stand-in, and so the launcher."""
    values = dict(flag.partition("=")[::2] for flag in given)
    unknown = sorted(set(values) - set(known))
    missing = sorted(flag for flag, required in known.items() if required and flag not in values)
    if unknown or missing:
        sys.exit(f"stand-in {what}: unknown flags {unknown}, missing flags {missing}")
    return values


def _start(command: list[str], job: int, index: int, tasks: int, home: pathlib.Path | None = None):
    """Starts one of the processes that find each other."""
    environment = {
        **os.environ,
        "HOME": str(home or os.environ.get("HOME", "")),
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_NTASKS": str(tasks),
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
    }
    return subprocess.Popen(command, env=environment, cwd=home)


def srun(given: list[str]) -> int:
    """Runs the tasks of a step; the highest status is its own, as that of the real one."""
    (_folder() / "srun.pid").write_text(str(os.getpid()))
    first_word = next(i for i, word in enumerate(given) if not word.startswith("--"))
    _check("srun", given[:first_word], _SRUN)
    tasks = int(os.environ["STAND_IN_TASKS"])
    job = int(os.environ["SLURM_JOB_ID"])
    command = given[first_word:]
    started = [_start(command, job, index, tasks) for index in range(tasks)]
    # The real one passes signals on to its tasks.
    signal.signal(signal.SIGTERM, lambda *_: [task.terminate() for task in started])
    return max(_status(task) for task in started)


def _status(process: subprocess.Popen) -> int:
    status = process.wait()
    return 128 - status if status < 0 else status


def scontrol(given: list[str]) -> int:
    """Knows `requeue JOB`."""
    if given != ["requeue", os.environ["SLURM_JOB_ID"]]:
        sys.exit(f"stand-in scontrol: {given}")
    return 0


def gcloud(given: list[str]) -> int:
    """Keeps one queued resource, whose state changes when it is looked at."""
    group, command, name, flags = tuple(given[2:4]), given[3], given[4], given[5:]
    if given[:2] != ["compute", "tpus"] or group not in _GCLOUD:
        sys.exit(f"stand-in gcloud: unknown command {given[:4]}")
    values = _check(" ".join(["gcloud", *group]), flags, _GCLOUD[group])
    state = _folder() / f"{name}.state"
    if command == "create":
        if state.exists():
            sys.exit("stand-in gcloud: ALREADY_EXISTS")
        state.write_text("WAITING_FOR_RESOURCES")
    elif not state.exists():
        sys.exit("stand-in gcloud: NOT_FOUND")
    elif command == "delete":
        state.unlink()
    elif command == "describe":
        following = {
            "WAITING_FOR_RESOURCES": "PROVISIONING",
            "PROVISIONING": "ACTIVE",
            "SUSPENDING": "SUSPENDED",
        }
        print(state.read_text())
        state.write_text(following.get(state.read_text(), state.read_text()))
    elif values["--worker"] != "all" or state.read_text() != "ACTIVE":
        sys.exit(f"stand-in gcloud: no such worker in state {state.read_text()}")
    else:
        return _on_every_worker(values["--command"], state)
    return 0


def _on_every_worker(command: str, state: pathlib.Path) -> int:
    """Runs the command in a home of its own for each worker; new machines have empty homes."""
    tasks = int(os.environ["STAND_IN_TASKS"])
    slices = len([call for call in calls(_folder(), "gcloud") if call[3] == "create"])
    started = []
    for index in range(tasks):
        home = _folder() / f"slice{slices}" / f"worker{index}"
        home.mkdir(parents=True, exist_ok=True)
        job = int(os.environ["STAND_IN_JOB"])
        started.append(_start(["bash", "-c", command], job, index, tasks, home))
    if "ssimbad_jax.main" in command and slices <= int(os.environ.get("STAND_IN_LOSSES", 0)):
        if _wait_for_loss(started):
            state.write_text("SUSPENDING")
            return 255
    # The real one returns that of the first worker that has failed.
    return next((status for status in map(_status, started) if status), 0)


def _wait_for_loss(workers: list[subprocess.Popen]) -> bool:
    """Shuts the machines down when it is time; false if their work was done before."""
    while not any(_folder().glob(os.environ["STAND_IN_LOSE_AT"])):
        if all(worker.poll() is not None for worker in workers):
            return False
        time.sleep(_POLL)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait()
    return True


def python3(given: list[str]) -> int:
    """Installs nothing: what `uv` makes for the worker calls the Python of the tests."""
    if given == "-m pip install --quiet --user uv".split():
        return 0
    if given[:3] == ["-m", "uv", "venv"]:
        interpreter = pathlib.Path(given[-1]) / "bin" / "python"
        interpreter.parent.mkdir(parents=True)
        interpreter.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        interpreter.chmod(0o755)
        return 0
    requirements = pathlib.Path("requirements.txt").read_text()
    # The first pin is that of the newer Pythons.
    pinned = next(line for line in requirements.splitlines() if line.startswith("jax=="))
    accelerated = pinned.split(";")[0].replace("jax==", "jax[tpu]==")
    if given[-3:] != ["-r", "requirements.txt", accelerated]:
        sys.exit(f"stand-in python3: {given}")
    return 0


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "srun": srun,
    "scontrol": scontrol,
    "gcloud": gcloud,
    "python3": python3,
}


def _main(name: str, given: list[str]) -> int:
    with (_folder() / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(given) + "\n")
    return _COMMANDS[name](given)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], sys.argv[2:]))
