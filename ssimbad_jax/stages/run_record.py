"""What a run took: `run.json`, with the time of each stage, versions and devices.

It is written while a stage runs, too, so that a run that is killed and continued adds up.
"""

import contextlib
import datetime
import json
import math
import pathlib
import platform
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import filelock
import jax

import ssimbad_jax
from ssimbad_jax.training import numerics, progress, whole_file

RESULT = "run.json"
LOCK_FILE = ".run_lock"
SECONDS_BETWEEN_WRITES = 10.0  # a kill loses no more of the time than this
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


@contextlib.contextmanager
def timed(
    workdir: pathlib.Path,
    stage: str,
    config_name: str = "",
    seconds_between_writes: float = SECONDS_BETWEEN_WRITES,
) -> Iterator[None]:
    """Adds the time spent inside to that of the stage; of several hosts only the first does.

    Args:
        workdir: of the run; it exists.
        stage: its name.
        config_name: of the command's config file; if empty, an earlier one is kept.
        seconds_between_writes: how often the time is written while the stage runs.

    Raises:
        OSError: the record cannot be written at the start. Later on that is only said, since a
            record of times is no reason to lose a training.
    """
    if jax.process_index() > 0:
        yield
        return
    path = workdir / RESULT
    before = _read_or_new(path)["stages"].get(stage, {"seconds": 0.0, "starts": 0})
    what_runs = {"versions": versions(), "devices": devices(), "numerics": numerics.record()}
    begin, done = time.monotonic(), threading.Event()

    def write(finished: str | None) -> None:
        # Read again each time: another process may score the run while this one trains it.
        with filelock.FileLock(workdir / LOCK_FILE):
            record = _read_or_new(path) | what_runs
            record["config"] = config_name or record.get("config", "")
            record["stages"][stage] = {
                "seconds": round(before["seconds"] + time.monotonic() - begin, 2),
                "starts": before["starts"] + 1,
                "finished": finished,
                "devices": what_runs["devices"],
                "numerics": what_runs["numerics"],
            }
            with whole_file.replacing(path) as unfinished:
                unfinished.write_text(json.dumps(record, indent=2), encoding="utf-8")

    def write_now_and_then() -> None:
        while not done.wait(seconds_between_writes):
            with contextlib.suppress(OSError):
                write(None)

    write(None)
    writer = threading.Thread(target=write_now_and_then, daemon=True)
    writer.start()
    finished = None
    try:
        yield
        finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    finally:
        done.set()
        writer.join()
        try:
            write(finished)
        except OSError as error:
            progress.say(f"{stage}: its time could not be written: {error}")


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns the record: `stages` by name, each with seconds, starts, finished, and devices.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: the file is no such record.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    stages = record.get("stages") if isinstance(record, dict) else None
    if not isinstance(stages, dict) or not all(map(_is_sound, stages.values())):
        raise ValueError(f"{path} is no record of a run; delete it")
    return record


def versions() -> dict[str, str]:
    """Returns the versions of Python, of this project and of what its numbers depend on."""
    packages = {name: metadata.version(name) for name in PACKAGES}
    return {"ssimbad_jax": ssimbad_jax.__version__, "python": platform.python_version()} | packages


def devices() -> dict[str, Any]:
    """Returns how many devices of what kind all hosts have together."""
    first = jax.devices()[0]
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "count": jax.device_count(),
        "hosts": jax.process_count(),
    }


def name_of(devices: Any) -> str:
    """Returns what `devices` says of them in words, an empty string where it is something else."""
    if not isinstance(devices, dict):
        return ""
    count, kind, hosts = (devices.get(name, "?") for name in ("count", "kind", "hosts"))
    return f"{count} × {kind}" + (f" on {hosts} hosts" if hosts not in (1, "?") else "")


def _is_sound(stage: Any) -> bool:
    return (
        isinstance(stage, dict)
        and isinstance(stage.get("seconds"), int | float)
        and math.isfinite(stage["seconds"])
        and isinstance(stage.get("starts"), int)
    )


def _read_or_new(path: pathlib.Path) -> dict[str, Any]:
    try:
        return read(path)
    except FileNotFoundError:
        return {"stages": {}}
    except ValueError as error:
        progress.say(f"{error}; until then times are counted anew")
        return {"stages": {}}
