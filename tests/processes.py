"""Starting the program as several processes that are one run, on the loopback address."""

import dataclasses
import os
import pathlib
import socket
import subprocess
import sys
import time
from typing import Any

from tests import program, tiny_run


def free_address() -> str:
    """Returns `localhost:port` of a port that nobody uses."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


@dataclasses.dataclass
class Group:
    """Processes of one run, started together.

    Attributes:
        processes: in the order of their numbers.
        outputs: the file that each writes to, stdout and stderr together.
    """

    processes: list[subprocess.Popen]
    outputs: list[pathlib.Path]

    def wait(self, seconds: float = 1800.0) -> list[int]:
        """Returns the exit statuses; kills what runs longer."""
        end = time.monotonic() + seconds
        try:
            return [p.wait(max(0.1, end - time.monotonic())) for p in self.processes]
        finally:
            self.kill()

    def kill(self) -> None:
        """Kills those that still run."""
        for process in self.processes:
            process.kill()
            process.wait()

    def output(self, index: int) -> str:
        """Returns what a process has said."""
        return self.outputs[index].read_text()

    def wait_until_said(self, text: str, index: int = 0, seconds: float = 900.0) -> None:
        """Returns when a process has said something."""
        end = time.monotonic() + seconds
        while text not in self.output(index):
            assert self.processes[index].poll() is None, self.output(index)
            assert time.monotonic() < end, f"never {text!r}:\n{self.output(index)}"
            time.sleep(0.02)

    def finish(self) -> "Group":
        """Waits, and expects that all end well."""
        statuses = self.wait()
        said = "\n".join(f"-- {path}\n{path.read_text()}" for path in self.outputs)
        assert not any(statuses), f"{statuses}\n{said}"
        return self


def start(
    folder: pathlib.Path,
    flags: list[str],
    *,
    processes: int = 1,
    devices: int = 1,
    module: str = "ssimbad_jax.main",
) -> Group:
    """Starts the program.

    Args:
        folder: for the outputs.
        flags: the same for all.
        processes: how many; one is started without `--distributed`.
        devices: simulated devices of each.
        module: what to run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address, started, outputs = free_address(), [], []
    for index in range(processes):
        environment: dict[str, Any] = {
            **os.environ,
            **program.QUICK,
            "JAX_NUM_CPU_DEVICES": str(devices),
        }
        own = []
        if processes > 1:
            own = [
                "--distributed",
                f"--coordinator={address}",
                f"--processes={processes}",
                f"--process_id={index}",
            ]
        outputs.append(folder / f"output_{index}.txt")
        with outputs[-1].open("w") as output:
            command = [sys.executable, "-m", module, *flags, *own]
            started.append(
                subprocess.Popen(
                    command,
                    cwd=program.REPOSITORY,
                    env=environment,
                    text=True,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
    return Group(started, outputs)


def main_flags(workdir: pathlib.Path, prepared_dir: pathlib.Path, **fields: Any) -> list[str]:
    """Returns the flags of the tiny run; `train__steps=3` sets `train.steps`."""
    changed = {name.replace("__", "."): value for name, value in fields.items()}
    values = {**tiny_run.FIELDS, "data.prepared_dir": prepared_dir, **changed}
    return [
        "--config=configs/edm_ssimbad.py",
        f"--workdir={workdir}",
        *(f"--config.{name}={value}" for name, value in values.items()),
    ]
