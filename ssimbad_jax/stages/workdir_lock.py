"""One run at a time in a folder: two would overwrite each other's results."""

import contextlib
import os
import pathlib
import socket
from collections.abc import Iterator

import filelock
import jax

from ssimbad_jax.training import sharding

LOCK_FILE = ".lock"
HOLDER_FILE = ".lock_holder"


class LockedError(OSError):
    """Another run works in the folder."""


@contextlib.contextmanager
def hold(
    folder: pathlib.Path,
    elsewhere: str = "another --workdir (another eval.folder where both only evaluate)",
) -> Iterator[None]:
    """Keeps every other run out of a folder; of several hosts the first does it for all.

    The system takes the lock back when the process ends, however it ends.

    Args:
        folder: made if it does not exist.
        elsewhere: what to choose instead, for the error.

    Raises:
        LockedError: another run is in it.
        NotADirectoryError: a file stands in the place of the folder.
        OSError: the folder cannot be written.
    """
    lock = filelock.FileLock(folder / LOCK_FILE)
    holder = folder / HOLDER_FILE
    is_held = False
    if jax.process_index() == 0:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise NotADirectoryError(
                f"{folder} is a file, or lies below one, and cannot be a folder; choose {elsewhere}"
            ) from error
        try:
            lock.acquire(blocking=False)
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        except filelock.Timeout:
            is_held = True
    if sharding.on_any_host(is_held):
        raise LockedError(
            f"{folder} is in use by another run ({_read(holder)}); wait until it has ended, or "
            f"choose {elsewhere}"
        )
    try:
        yield
    finally:
        lock.release()


def _read(holder: pathlib.Path) -> str:
    try:
        return holder.read_text(encoding="utf-8")
    except OSError:
        return "unknown"
