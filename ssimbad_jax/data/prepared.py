"""Prepared data sets on disk: made once and whole, and known when they are damaged."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import filelock
import tensorflow_datasets as tfds

from ssimbad_jax.data import tfds_output

_DESCRIPTIONS = ("dataset_info.json", "features.json")  # what TFDS needs to open a data set


class DamagedError(ValueError):
    """A prepared data set lacks files or has damaged ones; the message says what to do."""

    def __init__(self, folder: str | os.PathLike[str], reason: object):
        """Names the data set's folder and what is wrong with it."""
        super().__init__(os.fspath(folder), str(reason))  # what pickle gives it again

    def __str__(self) -> str:
        """Says what is damaged and what to do, in one line."""
        folder, reason = self.args
        return (
            f"the prepared data in {folder!r} is damaged ({reason}); delete this folder and run "
            "the same command again, which prepares it anew"
        )


def folder_of(
    builder_class: type[tfds.core.GeneratorBasedBuilder],
    builder_config: tfds.core.BuilderConfig,
    data_dir: pathlib.Path,
) -> pathlib.Path:
    """Returns where a data set is kept: it is there if and only if it is complete."""
    return data_dir / builder_class.name / builder_config.name / str(builder_class.VERSION)


def make_ready(
    builder_class: type[tfds.core.GeneratorBasedBuilder],
    builder_config: tfds.core.BuilderConfig,
    data_dir: pathlib.Path,
    *,
    message: str,
    **arguments: Any,
) -> tfds.core.GeneratorBasedBuilder:
    """Returns the builder of a data set, prepared if it is not yet.

    What an interrupted preparation left behind is removed first. Of processes that share
    `data_dir` one prepares, and the others wait for it.

    Args:
        builder_class: what builds the data.
        builder_config: which data.
        data_dir: where prepared data is kept.
        message: what to print when the work begins.
        **arguments: of `builder_class`, beside these.

    Raises:
        DamagedError: the data set's own description cannot be read.
        OSError: `data_dir` cannot be written.
    """
    folder = folder_of(builder_class, builder_config, data_dir)

    def open_builder() -> tfds.core.GeneratorBasedBuilder:
        return builder_class(
            config=builder_config,
            data_dir=os.fspath(data_dir),
            file_format="array_record",
            **arguments,
        )

    if not folder.exists():
        with _alone_in(folder.parent):
            if not folder.exists():
                print(message, flush=True)
                for leftover in folder.parent.glob("incomplete.*"):
                    shutil.rmtree(leftover)
                # TFDS insists on a folder of downloads.
                with tfds_output.quiet(), tempfile.TemporaryDirectory() as downloads:
                    open_builder().download_and_prepare(download_dir=downloads)
    try:
        with tfds_output.quiet():
            builder = open_builder()
            _ = builder.info.metadata  # is read at its first use
            return builder
    except Exception as error:  # of nearly any type, for half a file or another one
        raise DamagedError(folder, error) from error


@contextlib.contextmanager
def _alone_in(folder: pathlib.Path) -> Iterator[None]:
    """Makes a folder and keeps other processes out of it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / ".lock"):
            yield
    except (OSError, RuntimeError) as error:  # array_record's are RuntimeErrors
        raise OSError(
            f"no data can be prepared in {os.fspath(folder)!r} ({error}); where it is full or "
            "read-only, make room or set data.prepared_dir to another folder"
        ) from error


def check(builder: tfds.core.DatasetBuilder) -> None:
    """Checks that the files of a prepared data set are there.

    Raises:
        DamagedError: with the names of those that are missing.
    """
    folder = pathlib.Path(builder.data_dir)
    shards = [
        pathlib.Path(file) for split in builder.info.splits.values() for file in split.filepaths
    ]
    missing = [
        path.name
        for path in [*(folder / name for name in _DESCRIPTIONS), *shards]
        if not path.is_file()
    ]
    if missing:
        raise DamagedError(folder, f"{', '.join(missing)} missing")
