"""What colouring writes: pictures that know how they were made, contact sheets, a report."""

import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import PIL.PngImagePlugin

from ssimbad_jax.data import line_art, picture_file
from ssimbad_jax.stages import pictures

RECORD = "ssimbad_jax"  # the text chunk of a PNG that says how it was made
CONTACT_SHEET = "contact_sheet"
_ROWS = 12  # of a contact sheet
_CELL = 256  # pixels

Record = dict[str, Any]


def digest(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_record(path: pathlib.Path) -> Record | None:
    """Returns how a picture was made, None where it was not made here."""
    try:
        with PIL.Image.open(path) as picture:
            return json.loads(picture.info[RECORD])
    except (OSError, KeyError, ValueError, TypeError):
        return None


def save_result(path: pathlib.Path, picture: PIL.Image.Image, record: Record) -> None:
    """Writes a PNG and how it was made, whole or not at all; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chunk = PIL.PngImagePlugin.PngInfo()
    chunk.add_text(RECORD, json.dumps(record, sort_keys=True))
    part = path.with_name(f".{path.name}.part")
    try:
        picture.save(part, "PNG", pnginfo=chunk)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_report(path: pathlib.Path, report: dict[str, Any]) -> None:
    """Writes the report as JSON, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(json.dumps(report, indent=2), encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_contact_sheets(
    out: pathlib.Path, rows: Sequence[tuple[pathlib.Path, pathlib.Path, Sequence[pathlib.Path]]]
) -> list[pathlib.Path]:
    """Writes pages of sketches, references and results, and returns their files.

    Args:
        out: the folder for `contact_sheet.png`, `contact_sheet.2.png` and so on.
        rows: files of the sketch, the reference, and the results with all variants.
    """
    pages = [rows[start : start + _ROWS] for start in range(0, len(rows), _ROWS)]
    paths = contact_sheet_paths(out, len(rows))
    for path, page in zip(paths, pages, strict=True):
        columns = [
            _cells(sketch for sketch, _, _ in page),
            _cells((reference for _, reference, _ in page), fill=True),
            *map(_cells, zip(*(results for _, _, results in page), strict=True)),
        ]
        variants = len(columns) - 2
        names = ["result"] if variants == 1 else [f"result {i + 1}" for i in range(variants)]
        pictures.save_grid(path, columns, titles=["sketch", "reference", *names])
    return paths


def contact_sheet_paths(out: pathlib.Path, rows: int) -> list[pathlib.Path]:
    """Returns the files of the contact sheets of so many sketches."""
    return [result_path(out, CONTACT_SHEET, page) for page in range(math.ceil(rows / _ROWS))]


def result_path(out: pathlib.Path, name: str, variant: int) -> pathlib.Path:
    """Returns `name.png` of the first variant, `name.2.png` of the second, and so on."""
    return out / f"{name}{f'.{variant + 1}' if variant else ''}.png"


def _cells(paths: Iterable[pathlib.Path], fill: bool = False) -> np.ndarray:
    """Returns small squares, uint8 `[N, S, S, 3]`, padded or, to fill them, cut."""
    cells = []
    for path in paths:
        picture = picture_file.read_rgb(path)
        if fill:
            cells.append(PIL.ImageOps.fit(picture, (_CELL, _CELL)))
        else:
            picture.thumbnail((_CELL, _CELL), PIL.Image.Resampling.LANCZOS)
            padded = line_art.padded_to_square(picture)
            cells.append(padded.resize((_CELL, _CELL), PIL.Image.Resampling.LANCZOS))
    return np.stack([np.asarray(cell) for cell in cells])
