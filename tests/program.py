"""Starting the program as a user would, quickly."""

import os
import pathlib
import subprocess
import sys
from typing import Any

import tests.conftest  # noqa: F401  (sets the variables of the compilation cache)

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
# One device, and compiled like the tests of the stages, so that the compilation cache is shared.
QUICK = {
    "JAX_NUM_CPU_DEVICES": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
}


def start(flags: list[str], workdir: pathlib.Path, **streams: Any) -> subprocess.Popen:
    """Starts `ssimbad_jax.main` in a process of its own, with the variables `QUICK`.

    Flags may name another workdir, which goes before.
    """
    environment = {**os.environ, **QUICK}
    command = [sys.executable, "-m", "ssimbad_jax.main", f"--workdir={workdir}", *flags]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, text=True, **streams)
