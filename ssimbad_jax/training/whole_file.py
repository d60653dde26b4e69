"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields where to write what takes the place of a file when all of it is there.

    A reader finds the old file or the new one, and so does the next start after a kill or a full
    disk in the middle, which leave only `NAME.part` beside it.

    Args:
        path: of the file; its folder exists.
    """
    unfinished = path.with_name(path.name + ".part")
    yield unfinished
    os.replace(unfinished, path)
