"""Refuses addresses such as gs://bucket/run: what is read and written here lies on disks.

Locks, logs that are appended to, and files that are replaced at once need a file system. Without
this, `gs://bucket/run` would become a folder `gs:` beside the program.
"""

import re
from collections.abc import Iterator

import ml_collections
from absl import flags

# Fields that name places on a disk.
FIELDS = ("data.dir", "data.prepared_dir", "eval.pairs", "eval.inception_weights")

# Two letters or more: `C:/` is a disk.
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


def is_remote(path: str) -> bool:
    """Returns whether a path is an address, such as gs://bucket/run."""
    return _SCHEME.match(path) is not None


def problems(config: ml_collections.ConfigDict) -> Iterator[str]:
    """Yields a line for each field that names no place on a disk."""
    for field in FIELDS:
        section, name = field.split(".")
        if is_remote(config[section][name]):
            yield _problem(field, config[section][name])


def refuse_in_flags(*names: str) -> None:
    """Makes flags refuse addresses when they are parsed.

    Args:
        names: of flags that hold a path or several.
    """
    for name in names:
        flags.register_validator(name, lambda value, name=name: check(f"--{name}", value))


def check(name: str, value: str | list[str] | None) -> bool:
    """Checks paths.

    Args:
        name: of the flag, for the message.
        value: a path, several, or none.

    Returns:
        True.

    Raises:
        flags.ValidationError: one of them is an address.
    """
    for path in [value] if isinstance(value, str) else value or []:
        if is_remote(path):
            raise flags.ValidationError(_problem(name, path))
    return True


def _problem(name: str, path: str) -> str:
    return (
        f"{name} is {path!r}, which is not on a disk; mount the bucket (gcsfuse for gs://, "
        "mountpoint-s3 for s3://) and name the folder that it is mounted on"
    )
