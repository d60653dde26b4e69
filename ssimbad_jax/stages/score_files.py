"""What scoring writes: numbers for programs, tables and pictures for people."""

import csv
import json
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import pictures

ROWS_OF_EACH_KIND = 3


class Result(NamedTuple):
    """What a method made of all pictures of a setting.

    Attributes:
        pixels: uint8 `[N, H, W, 3]`.
        scores: `[N]` for each metric.
        network_calls: for each picture.
        seconds: for each picture.
    """

    pixels: np.ndarray
    scores: dict[str, np.ndarray]
    network_calls: int
    seconds: float


Results = dict[str, dict[str, Result]]  # by setting, by method


def rows(results: Results) -> list[dict[str, Any]]:
    """Returns one row a method: mean and standard error of each metric in each setting."""
    rows = []
    for name, first in results[pairs.SETTINGS[0]].items():
        row: dict[str, Any] = {"method": name, "network_calls": first.network_calls}
        row["seconds_per_image"] = first.seconds
        for setting in pairs.SETTINGS:
            for metric, values in results[setting][name].scores.items():
                row[f"{metric}_{setting}"] = float(values.mean())
                error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
                row[f"{metric}_{setting}_standard_error"] = float(error)
        rows.append(row)
    # The model first, then the answers that need no network.
    return sorted(rows, key=lambda row: -row["network_calls"])


def write_numbers(folder: pathlib.Path, summary: dict[str, Any], results: Results) -> None:
    """Writes metrics.json and per_image.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    first = next(iter(results[pairs.SETTINGS[0]].values()))
    (folder / "metrics.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    with (folder / "per_image.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["setting", "method", "image", *first.scores])
        for setting, by_method in results.items():
            for name, result in by_method.items():
                for number, values in enumerate(zip(*result.scores.values(), strict=True)):
                    writer.writerow([setting, name, number, *(f"{value:.5f}" for value in values)])


def write_pictures(
    folder: pathlib.Path,
    test_pairs: pairs.Pairs,
    results: Results,
    method: str,
    save_images: int,
) -> None:
    """Writes single results, and a grid of the best, median and worst."""
    for setting in pairs.SETTINGS:
        # An earlier scoring may have left more pictures than this one.
        shutil.rmtree(folder / setting, ignore_errors=True)
        for number, pixels in enumerate(results[setting][method].pixels[:save_images]):
            pictures.save_png(folder / setting / f"{number:05d}.png", pixels)
    same, cross = (results[setting][method] for setting in pairs.SETTINGS)
    order = np.argsort(-same.scores["ssim"], kind="stable")
    middle = max(0, len(order) // 2 - ROWS_OF_EACH_KIND // 2)
    shown = [
        *order[:ROWS_OF_EACH_KIND],
        *order[middle : middle + ROWS_OF_EACH_KIND],
        *order[-ROWS_OF_EACH_KIND:],
    ]
    columns = (
        test_pairs.sketch[..., None],
        test_pairs.reference_same,
        same.pixels,
        test_pairs.gt,
        test_pairs.reference_cross,
        cross.pixels,
    )
    pictures.save_grid(
        folder / "grid.png",
        [column[shown] for column in columns],
        titles=["sketch", "reference", "result", "target", "cross reference", "result"],
    )


def table(summary: dict[str, Any], metrics: Sequence[str]) -> str:
    """Returns the rows as text, one line a method."""
    names = [f"{metric}_{setting}" for setting in pairs.SETTINGS for metric in metrics]
    lines = [f"{'':32}{'calls':>6}" + "".join(f"{name.replace('_', ' '):>18}" for name in names)]
    for row in summary["rows"]:
        cells = "".join(
            f"{row[name]:>10.3f} ±{row[name + '_standard_error']:.3f}".rjust(18) for name in names
        )
        lines.append(f"{row['method']:32}{row['network_calls']:>6}{cells}")
    return "\n".join(lines)
