"""What a user can mend, said in one line: the thing, its value and the remedy."""

import contextlib
import errno
import pathlib
import shutil
import traceback
from collections.abc import Iterator, Sequence

import jax
import ml_collections

from ssimbad_jax.training import checkpoint, hosts, interruption, loop, progress

# What to change when the memory of a stage does not suffice, and why that helps.
MEMORY_REMEDIES = {
    "calibrate": (
        ("lower", "calibrate.max_memory_mb"),
        ("or", "calibrate.num_images"),
    ),
    "train": (
        ("raise", "train.accumulate"),
        ("(the same result in smaller parts), or lower", "train.batch_size"),
        ("or", "data.image_size"),
    ),
    "refine": (
        ("raise", "refine.accumulate"),
        ("(the same result in smaller parts), or lower", "refine.batch_size"),
        ("or", "data.image_size"),
    ),
    "evaluate": (("lower", "eval.batch_size"), ("or", "eval.max_images")),
    "report": (("lower", "eval.save_images"),),
}
_MENDABLE = (ValueError, OSError, MemoryError, loop.NonFiniteError, checkpoint.DamagedError)
_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
_SIGNS_OF_NO_SPACE = ("No space left", "Disk quota exceeded")


class OutOfMemoryError(MemoryError):
    """A stage needs more memory than there is."""


class StorageError(OSError):
    """A folder is full or cannot be written."""


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Ends the program with one line for what a user can mend, and for signals.

    Raises:
        SystemExit: 1 with the error's line on stderr, or `interruption.EXIT_STATUS`, which says
            that nothing failed and the same command continues.
    """
    try:
        with interruption.handled():
            yield
    except interruption.Interrupted as stop:
        progress.say(f"{stop}. Run the same command again to continue.")
        if stop.agreed:
            hosts.leave(interruption.EXIT_STATUS, together=True)
        # XLA may have been compiling: jax then crashes when the interpreter unwinds.
        hosts.leave_at_once(interruption.EXIT_STATUS)
    except Exception as error:
        if hosts.is_lost_process(error):
            hosts.leave(
                f"error: another process of this run is gone ({_first_line(error)}); run the same "
                "command again on all, which continues from the newest checkpoint"
            )
        if isinstance(error, _MENDABLE):
            hosts.leave(f"error: {error}")
        if not hosts.has_others():
            raise
        traceback.print_exc()
        hosts.leave(1)


@contextlib.contextmanager
def explained(
    stage: str, config: ml_collections.ConfigDict, folders: Sequence[pathlib.Path]
) -> Iterator[None]:
    """Turns what the system and XLA say about memory and disks into a line with a remedy.

    Args:
        stage: which stage runs inside.
        config: its values are told.
        folders: that are written to.

    Raises:
        OutOfMemoryError: memory did not suffice.
        StorageError: a folder is full or cannot be written.
    """
    try:
        yield
    except (OutOfMemoryError, StorageError):
        raise  # explained inside
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        is_memory = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
        if not is_memory or stage not in MEMORY_REMEDIES:
            raise
        raise OutOfMemoryError(
            f"{stage}: out of memory; {_memory_remedy(stage, config)} ({_first_line(error)})"
        ) from error
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        # TFDS and array_record wrap what the system says in exceptions of their own.
        if number in _OUT_OF_SPACE or any(sign in str(error) for sign in _SIGNS_OF_NO_SPACE):
            raise StorageError(_no_space(stage, folders)) from error
        if isinstance(error, OSError) and number in _NOT_WRITABLE:
            raise StorageError(
                f"{stage}: {error.filename or folders[0]} cannot be written ({error.strerror}); "
                "make it writable, or choose another --workdir or data.prepared_dir"
            ) from error
        raise


def _memory_remedy(stage: str, config: ml_collections.ConfigDict) -> str:
    parts = []
    for words, field in MEMORY_REMEDIES[stage]:
        section, name = field.split(".")
        parts.append(f"{words} {field} (now {config[section][name]})")
    return " ".join(parts)


def _no_space(stage: str, folders: Sequence[pathlib.Path]) -> str:
    free = {folder: shutil.disk_usage(_existing(folder)).free for folder in folders}
    fullest = min(free, key=free.__getitem__)
    return (
        f"{stage}: no space left for {fullest} ({free[fullest] / 1e6:.0f} MB free); free some, or "
        "choose another --workdir or data.prepared_dir. Earlier checkpoints are intact: the same "
        "command continues"
    )


def _existing(folder: pathlib.Path) -> pathlib.Path:
    folder = folder.absolute()
    return next(place for place in (folder, *folder.parents) if place.exists())


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:160]
