"""Which sketch is coloured like which reference: files, folders and patterns, paired by name.

Nothing is opened here. Files below the results' folder are never taken for inputs, so that a second
call does not colour the results of the first.
"""

import collections
import dataclasses
import glob
import os
import pathlib
import unicodedata
from collections.abc import Sequence

from ssimbad_jax import wording
from ssimbad_jax.data import picture_folder


@dataclasses.dataclass(frozen=True)
class Item:
    """A sketch to colour.

    Attributes:
        name: of the result, below its folder and without ending.
        sketch: the drawing's file.
        reference: the file of the picture whose colours it gets; None where there is a problem.
        problem: why it cannot be coloured; empty if it can.
    """

    name: str
    sketch: pathlib.Path
    reference: pathlib.Path | None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class _Found:
    name: str  # path below the folder that was searched, without ending, readable
    path: pathlib.Path


def find(
    sketches: Sequence[str], references: Sequence[str], out: pathlib.Path
) -> tuple[list[Item], list[str]]:
    """Lists the sketches, each with its reference.

    A single reference is for all sketches. Of several, a sketch gets the one with its name: the
    same path below the folders that were given or, where there is none, the same file name; endings
    do not count.

    Args:
        sketches: files, folders (searched recursively) and patterns such as `drawings/*.png`.
        references: likewise.
        out: where results go.

    Returns:
        The items, and the paths of the references that no sketch has the name of.

    Raises:
        FileNotFoundError: an argument names nothing.
        ValueError: the sketches are the references, or lie in the folder of the results.
    """
    for pattern in (*sketches, *references):
        if real_path(_root(pattern)) == real_path(out) and not _is_file(pattern):
            raise ValueError(f"--out={out} is the folder of {pattern!r}; name another for results")
    found_sketches = _expand("sketch", sketches, [out, *map(_root, references)])
    found_references = _expand("reference", references, [out, *map(_root, sketches)])
    # A reference that lies among the sketches is none of them.
    colours = {real_path(found.path) for found in found_references}
    found_sketches = [found for found in found_sketches if real_path(found.path) not in colours]
    if not found_sketches:
        raise ValueError(
            f"--reference={','.join(references)} names the sketches themselves; "
            "name the pictures whose colours they should get"
        )
    items = _pair(found_sketches, found_references)
    used = {item.reference for item in items}
    return items, [readable(found.path) for found in found_references if found.path not in used]


def readable(path: str | pathlib.Path) -> str:
    """Returns a path that can be printed, even where the disk's names are not UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def real_path(path: pathlib.Path) -> pathlib.Path:
    """Returns where links lead; those that lead nowhere or in circles are no error."""
    return pathlib.Path(os.path.realpath(path))


def _pair(sketches: Sequence[_Found], references: Sequence[_Found]) -> list[Item]:
    by_name, by_file_name = collections.defaultdict(list), collections.defaultdict(list)
    for reference in references:
        by_name[reference.name].append(reference.path)
        by_file_name[_file_name(reference)].append(reference.path)
    count_of_name = collections.Counter(sketch.name for sketch in sketches)
    items = []
    for sketch in sketches:
        # drawing.png and drawing.jpg are two drawings.
        name = sketch.name + (sketch.path.suffix if count_of_name[sketch.name] > 1 else "")
        if len(references) == 1:
            partners = [references[0].path]
        else:
            partners = by_name[sketch.name] or by_file_name[_file_name(sketch)]
        problem = ""
        if len(partners) > 1:
            listed = wording.list_some([readable(path) for path in partners])
            problem = f"{len(partners)} references have its name: {listed}"
        elif not partners:
            problem = f"none of the {len(references)} references has its name"
        items.append(Item(name, sketch.path, None if problem else partners[0], problem))
    return items


def _file_name(found: _Found) -> str:
    return found.name.rpartition("/")[2]


def _expand(flag: str, patterns: Sequence[str], elsewhere: Sequence[pathlib.Path]) -> list[_Found]:
    """Lists what the patterns name, each file once, in order."""
    found: dict[pathlib.Path, _Found] = {}
    for pattern in patterns:
        root = _root(pattern)
        if _is_file(pattern):
            paths = [pathlib.Path(pattern).expanduser()]
        else:
            inside = [folder for folder in elsewhere if _is_below(folder, root)]
            paths = [
                path for path in _search(pattern) if not any(_is_below(path, f) for f in inside)
            ]
        if not paths:
            raise FileNotFoundError(
                f"--{flag}={pattern} names no picture; give files, folders or patterns of "
                f"{' '.join(picture_folder.SUFFIXES)}"
            )
        for path in paths:
            name = readable(path.relative_to(root).with_suffix("")).replace(os.sep, "/")
            # Some systems store letters and their accents apart.
            name = unicodedata.normalize("NFC", name)
            found.setdefault(real_path(path), _Found(name, path))
    return list(found.values())


def _search(pattern: str) -> list[pathlib.Path]:
    path = pathlib.Path(pattern).expanduser()
    if path.is_dir():
        return picture_folder.picture_files(path)
    matches = sorted(pathlib.Path(name) for name in glob.glob(str(path), recursive=True))
    return [m for m in matches if m.is_file() and m.suffix.lower() in picture_folder.SUFFIXES]


def _root(pattern: str) -> pathlib.Path:
    """Returns the folder that names are counted from: itself, or the part before a wildcard."""
    path = pathlib.Path(pattern).expanduser()
    if path.is_dir():
        return path
    while glob.has_magic(path.parent.as_posix()) and not path.parent.is_dir():
        path = path.parent
    return path.parent


def _is_file(pattern: str) -> bool:
    return pathlib.Path(pattern).expanduser().is_file()


def _is_below(path: pathlib.Path, folder: pathlib.Path) -> bool:
    path, folder = real_path(path), real_path(folder)
    return path != folder and path.is_relative_to(folder)
