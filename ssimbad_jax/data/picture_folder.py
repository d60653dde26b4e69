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
import re

from ssimbad_jax import wording

SUFFIXES = tuple(".jpg .jpeg .jfif .png .webp .bmp .gif .tif .tiff .ppm .pgm .avif".split())
SPLITS = ("train", "test")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One picture of a directory."""

    name: str  # path below the directory, with forward slashes
    picture: pathlib.Path  # the colour picture's file
    sketch: pathlib.Path | None = None  # the line drawing's file in the paper's layout
    split: str | None = None  # "train" or "test" where the directory says so


def searched(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders of a directory in which `find_pictures` looks for pictures."""
    pairs = [directory / f"{split}_data" for split in SPLITS]
    if any(folder.is_dir() for folder in pairs):
        return [folder / kind for folder in pairs for kind in ("reference", "sketch")]
    given = [directory / split for split in SPLITS]
    return given if all(folder.is_dir() for folder in given) else [directory]


def find_pictures(directory: pathlib.Path) -> list[Entry]:
    """Lists the pictures of a directory, sorted by name, without opening them.

    Files with other suffixes and hidden ones are passed over; linked folders are
    followed, but not in circles. Where `train/` and `test/` exist, only they are searched.

    Raises:
        FileNotFoundError: the directory does not exist.
        ValueError: it holds no picture, a folder that cannot be searched, or in the paper's
          layout a folder without pictures or a picture without a partner.
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
    """Lists the files of a tree that end like pictures, sorted; hidden ones are passed over.

    Raises:
        ValueError: a folder of it cannot be searched.
    """
    if not directory.is_dir():
        return []
    found: list[pathlib.Path] = []
    above = {os.fspath(directory): frozenset({_identity(directory)})}
    for folder, subfolders, files in os.walk(directory, onerror=_refuse, followlinks=True):
        here = above.pop(folder)
        entered = []
        for name in subfolders:
            path = os.path.join(folder, name)
            # A link to a folder that it lies in would be followed in circles.
            if not name.startswith(".") and (identity := _identity(path)) not in here:
                above[path] = here | {identity}
                entered.append(name)
        subfolders[:] = entered
        found += [pathlib.Path(folder, file) for file in files if not file.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES)


def _identity(folder: str | pathlib.Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _refuse(error: OSError) -> None:
    raise ValueError(
        f"folder {error.filename!r} cannot be searched ({error.strerror}); make it readable, or "
        "move it elsewhere"
    ) from error


def _name(path: pathlib.Path, directory: pathlib.Path) -> str:
    """Returns a file's path below a directory: one line of UTF-8 whatever the disk has."""
    name = os.fsencode(path.relative_to(directory)).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda match: ascii(match[0])[1:-1], name)


def _find_pairs(directory: pathlib.Path, split: str) -> list[Entry]:
    """Lists one split of the paper's layout."""
    top = directory / f"{split}_data"
    pictures, sketches = (
        {path.relative_to(top / kind): path for path in picture_files(top / kind)}
        for kind in ("reference", "sketch")
    )
    if not pictures or not sketches:
        raise ValueError(
            "the paper's layout has pictures in 'reference' and line drawings of equal names in "
            f"'sketch', both in 'train_data' and in 'test_data', but {_lacking(top)}; add them, or "
            "rename folders of pictures without sketches to 'train' and 'test'"
        )
    alone = [path for name, path in pictures.items() if name not in sketches]
    alone += [path for name, path in sketches.items() if name not in pictures]
    if alone:
        raise ValueError(
            f"{str(top)!r} must hold pairs of equal names, endings included, in 'reference' and "
            f"'sketch', but of its {len(pictures)} and {len(sketches)} files {len(alone)} stand "
            f"alone: {wording.list_some([_name(path, top) for path in alone])}; add the partners "
            "or remove these"
        )
    return [
        Entry(_name(path, directory), path, sketches[name], split)
        for name, path in pictures.items()
    ]


def _lacking(top: pathlib.Path) -> str:
    """Says which folders of a split of the paper's layout are absent or hold no picture."""
    folders = [top / kind for kind in ("reference", "sketch")] if top.is_dir() else [top]
    return " and ".join(
        f"{str(folder)!r} " + ("holds no picture" if folder.is_dir() else "does not exist")
        for folder in folders
        if not picture_files(folder)
    )
