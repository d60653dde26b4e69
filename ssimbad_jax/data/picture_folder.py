"""Which pictures a folder holds, in which split, and with which sketch.

Two inputs are understood:

* any tree of pictures, searched recursively. With `train/` and `test/` at its top these are the
  splits;
* the paper's layout `{train,test}_data/{reference,sketch}`, where every colour picture of
  `reference` has a line drawing of the same name in `sketch`.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

SUFFIXES = tuple(".jpg .jpeg .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .avif".split())
SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One picture of a directory."""

    name: str  # path below the directory, with forward slashes
    picture: pathlib.Path  # the colour picture's file
    sketch: pathlib.Path | None = None  # the line drawing's file in the paper's layout
    split: str | None = None  # "train" or "test" where the directory says so


def find_pictures(directory: pathlib.Path) -> list[Entry]:
    """Lists the pictures of a directory, sorted by name, without opening them.

    Files with other suffixes and hidden ones are passed over; linked folders are
    followed. Where `train/` and `test/` exist, only they are searched.

    Raises:
        FileNotFoundError: the directory does not exist.
        ValueError: it holds no picture, or in the paper's layout one without a partner.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"there is no folder {str(directory)!r}; give that of the pictures")
    if any((directory / f"{split}_data").is_dir() for split in SPLITS):
        return [entry for split in SPLITS for entry in _find_pairs(directory, split)]
    given = SPLITS if all((directory / split).is_dir() for split in SPLITS) else (None,)
    entries = []
    for split in given:
        top = directory / (split or "")
        if not (files := picture_files(top)):
            raise ValueError(f"no file below {str(top)!r} ends in {' '.join(SUFFIXES)}")
        entries += [Entry(_name(path, directory), path, split=split) for path in files]
    return entries


def picture_files(directory: pathlib.Path) -> list[pathlib.Path]:
    """Lists the files of a tree that end like pictures, sorted; hidden ones are passed over."""
    found = []
    for folder, subfolders, files in os.walk(directory, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [pathlib.Path(folder, file) for file in files if not file.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES)


def _name(path: pathlib.Path, directory: pathlib.Path) -> str:
    """Returns a file's path below a directory, in UTF-8 even where the disk's is not."""
    return os.fsencode(path.relative_to(directory)).decode("utf-8", "backslashreplace")


def _find_pairs(directory: pathlib.Path, split: str) -> list[Entry]:
    """Lists one split of the paper's layout."""
    top = directory / f"{split}_data"
    pictures, sketches = (
        {_name(path, top / kind): path for path in picture_files(top / kind)}
        for kind in ("reference", "sketch")
    )
    alone = [f"reference/{name}" for name in pictures if name not in sketches]
    alone += [f"sketch/{name}" for name in sketches if name not in pictures]
    if alone or not pictures:
        raise ValueError(
            f"{str(top)!r} must hold pairs of equal names in 'reference' and 'sketch', but of its "
            f"{len(pictures)} and {len(sketches)} files {len(alone)} stand alone: "
            f"{list_some(alone)}"
        )
    return [
        Entry(_name(path, directory), path, sketches[name], split)
        for name, path in pictures.items()
    ]


def list_some(names: Sequence[str], limit: int = 10) -> str:
    """Joins the first names for an error message."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "none") + more
