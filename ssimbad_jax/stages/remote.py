"""Refuses addresses such as gs://bucket/run where only a disk will do.

Locks, logs that are appended to, and files that are replaced at once need a file system. Without
this, `gs://bucket/run` would become a folder `gs:` beside the program. What the main job reads and
where it works may lie in buckets: see `data.bucket` and `mirror`.
"""

from collections.abc import Iterator

import ml_collections
from absl import flags

from ssimbad_jax.data import bucket

# Fields that name places, and those of them that have to be on a disk.
PLACES = ("data.dir", "data.prepared_dir", "eval.pairs", "eval.inception_weights")
FIELDS = ("data.prepared_dir",)


def problems(config: ml_collections.ConfigDict) -> Iterator[str]:
    """Yields a line for each field that names no place on a disk."""
    for field in FIELDS:
        section, name = field.split(".")
        if bucket.is_address(config[section][name]):
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
        if bucket.is_address(path):
            raise flags.ValidationError(_problem(name, path))
    return True


def _problem(name: str, path: str) -> str:
    return (
        f"{name} is {path!r}, which is not on a disk; mount the bucket (gcsfuse for gs://, "
        "mountpoint-s3 for s3://) and name the folder that it is mounted on"
    )
