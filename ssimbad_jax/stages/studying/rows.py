"""The rows of a study: kept one by one, so that it can be stopped at any time.

`study.jsonl` has a row for each combination and setting; `study.json` says what they belong to.
"""

import csv
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ssimbad_jax.training import metric_log, whole_file

ROWS, BELONGS_TO, CSV = "study.jsonl", "study.json", "study.csv"

# What results are scored with; names out of `scores.METRICS`.
METRICS = ("psnr", "ssim", "lpips_alex")

# What tells rows apart.
KEY = ("weights", "sampler", "grid", "sigma_max", "steps", "setting")

Row = dict[str, Any]


class Rows:
    """Rows on the disk, in the order they were made."""

    def __init__(self, folder: pathlib.Path, fingerprint: dict[str, Any]) -> None:
        """Opens the rows of an earlier call, or begins anew.

        Args:
            folder: exists.
            fingerprint: what the numbers follow from, in plain JSON types. Names that only one of
                two calls has are not compared.

        Raises:
            ValueError: the rows there belong to something else, or are damaged.
            OSError: the folder cannot be written.
        """
        self._folder, self._path = folder, folder / ROWS
        before = _read_fingerprint(folder)
        for name in fingerprint:
            if name in before and before[name] != fingerprint[name]:
                raise ValueError(
                    f"{self._path} belongs to another study: {name} was {before[name]!r} and is "
                    f"{fingerprint[name]!r}; name another --out, or delete the file"
                )
        self.all: list[Row] = list(metric_log.read(self._path))
        if any(not isinstance(row, dict) or not row.keys() >= set(KEY) for row in self.all):
            raise ValueError(f"{self._path} has rows that are none of a study; delete it")
        self._by_key = {_key(row): row for row in self.all}
        _write_at_once(folder / BELONGS_TO, json.dumps(before | fingerprint, indent=2))
        # Without a last line that was cut off.
        _write_at_once(self._path, "".join(map(_line, self.all)))

    def __contains__(self, row: Row) -> bool:
        """Tells whether there is a row of the same key."""
        return _key(row) in self._by_key

    def __getitem__(self, row: Row) -> Row:
        """Returns the row of the same key."""
        return self._by_key[_key(row)]

    def append(self, row: Row) -> None:
        """Keeps a row, unless there is one of its key.

        Raises:
            OSError: the file cannot be written.
        """
        if row in self:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(row))
        self.all.append(row)
        self._by_key[_key(row)] = row

    def pictures(self, name: str) -> np.ndarray | None:
        """Returns the pictures kept under a name, uint8 `[N, H, W, 3]`; None if there are none."""
        try:
            return np.load(self._folder / f"{name}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None

    def keep_pictures(self, name: str, pixels: np.ndarray) -> None:
        """Keeps pictures, uint8 `[N, H, W, 3]`, under a name."""
        path = self._folder / f"{name}.npy"
        with whole_file.replacing(path) as unfinished, unfinished.open("wb") as file:
            np.save(file, pixels)


def write_csv(folder: pathlib.Path, rows: Sequence[Row]) -> None:
    """Writes the rows as a table for other programs."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n"


def _read_fingerprint(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / BELONGS_TO
    if not (folder / ROWS).exists():
        return {}
    try:
        fingerprint = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(fingerprint, dict):
            return fingerprint
        reason = "it holds no object"
    except (OSError, ValueError) as error:
        reason = str(error)
    raise ValueError(
        f"{path} does not say what the rows of {ROWS} belong to ({reason}); name another --out, or "
        f"delete {ROWS}"
    )


def _write_at_once(path: pathlib.Path, content: str) -> None:
    with whole_file.replacing(path) as unfinished:
        unfinished.write_text(content, encoding="utf-8")
