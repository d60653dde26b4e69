"""What scoring writes: numbers for programs, tables and pictures for people."""

import csv
import json
import pathlib
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import pictures, scores

ROWS_OF_EACH_KIND = 3
TARGETS = "target"  # the folder beside those of the settings

# Of the printed table, in letters.
_LABEL_WIDTH, _CELL_WIDTH = 25, 18


class Result(NamedTuple):
    """What a method made of all pictures of a setting.

    Attributes:
        pixels: uint8 `[N, H, W, 3]`, of the first seed.
        scores: of all seeds.
        network_calls: for each picture.
        seconds: for each picture.
    """

    pixels: np.ndarray
    scores: scores.Scores
    network_calls: int
    seconds: float


Results = dict[str, dict[str, Result]]  # by setting, by method


def rows(results: Results, metrics: Sequence[str], num_seeds: int) -> list[dict[str, Any]]:
    """Returns one row a method, for metrics.json.

    A metric of single pictures has its mean over seeds and pictures and the standard error over
    pictures; a distance between sets its mean over seeds and its bootstrap interval; both the
    spread over seeds, where there are several. What has no finite value is None.
    """
    rows = []
    for name, first in results[pairs.SETTINGS[0]].items():
        row: dict[str, Any] = {"method": name, "network_calls": first.network_calls}
        row["seconds_per_image"] = float(
            np.mean([results[setting][name].seconds for setting in pairs.SETTINGS])
        )
        for setting in pairs.SETTINGS:
            result = results[setting][name].scores
            for metric in metrics:
                row |= cells(f"{metric}_{setting}", result, metric, num_seeds)
        rows.append(row)
    # The sampler first, whose pictures are shown, then the answers that need no network.
    return sorted(rows, key=lambda row: row["network_calls"] == 0)


def cells(key: str, result: scores.Scores, metric: str, num_seeds: int) -> dict[str, Any]:
    """Returns the value of a metric, named `key`, and what says how certain it is."""
    row: dict[str, Any] = {key: None}
    if metric in result.of_pictures:
        of_seeds = result.of_pictures[metric].mean(axis=1)
        of_pictures = result.of_pictures[metric].mean(axis=0)
        # Seeds are averaged first: the standard error is then that over pictures alone.
        row[key] = _finite(of_pictures.mean())
        row[key + "_standard_error"] = _finite(_standard_error(of_pictures))
    elif metric in result.of_sets:
        of_seeds = result.of_sets[metric]
        row[key] = _finite(of_seeds.mean())
        row[key + "_interval"] = [_finite(end) for end in result.intervals[metric]]
    else:
        return row
    if num_seeds > 1:
        row[key + "_seed_spread"] = _finite(of_seeds.std(ddof=1) if len(of_seeds) > 1 else 0.0)
    return row


def _standard_error(values: np.ndarray) -> float:
    if not np.isfinite(values).all():
        return float("nan")
    return 0.0 if len(values) < 2 else float(values.std(ddof=1) / np.sqrt(len(values)))


def _finite(value: float) -> float | None:
    """JSON knows neither infinity (the PSNR of equal pictures) nor not-a-number."""
    return float(value) if np.isfinite(value) else None


def write_numbers(folder: pathlib.Path, summary: dict[str, Any], results: Results) -> None:
    """Writes metrics.json and per_image.csv, which has a row for each picture and seed."""
    folder.mkdir(parents=True, exist_ok=True)
    first = next(iter(results[pairs.SETTINGS[0]].values()))
    (folder / "metrics.json").write_text(
        json.dumps(summary, indent=2, allow_nan=False), encoding="utf-8"
    )
    with (folder / "per_image.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["setting", "method", "seed", "image", *first.scores.of_pictures])
        for setting, by_method in results.items():
            for name, result in by_method.items():
                arrays = result.scores.of_pictures.values()
                for seed, of_seed in zip(summary["seeds"], zip(*arrays, strict=True), strict=False):
                    for number, values in enumerate(zip(*of_seed, strict=True)):
                        cells = (f"{value:.5f}" for value in values)
                        writer.writerow([setting, name, seed, number, *cells])


def write_pictures(
    folder: pathlib.Path,
    test_pairs: pairs.Pairs,
    results: Results,
    method: str,
    save_images: int,
) -> None:
    """Writes single results with their targets, and a grid of the best, median and worst by SSIM.

    The targets are of the same names, so that other programs can score the results.
    """
    single = {setting: results[setting][method].pixels for setting in pairs.SETTINGS}
    for name, pixels in {**single, TARGETS: test_pairs.gt}.items():
        # An earlier scoring may have left more pictures than this one.
        shutil.rmtree(folder / name, ignore_errors=True)
        for number, picture in enumerate(pixels[:save_images]):
            pictures.save_png(folder / name / f"{number:05d}.png", picture)
    same, cross = (results[setting][method] for setting in pairs.SETTINGS)
    ssim = same.scores.of_pictures.get("ssim")
    # Where SSIM was not asked for, in the order of the pictures.
    order = np.arange(len(same.pixels)) if ssim is None else np.argsort(-ssim[0], kind="stable")
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


def table(summary: dict[str, Any]) -> str:
    """Returns metrics.json as text: a block for each setting, a column for each method.

    Args:
        summary: what metrics.json holds.
    """
    rows = summary["rows"]
    names = [textwrap.wrap(row["method"], _CELL_WIDTH - 2) for row in rows]
    height = max(map(len, names))
    titles = [[""] * (height - len(name)) + name for name in names]
    lines = [
        "",
        *(_line("", parts) for parts in zip(*titles, strict=True)),
        _line("network calls", [str(row["network_calls"]) for row in rows]),
        _line("seconds a picture", [f"{row['seconds_per_image']:.3g}" for row in rows]),
    ]
    for setting in summary["settings"]:
        lines += ["", f"{setting} reference"]
        for name, metric in summary["metrics"].items():
            label = f"  {metric['label']} {'↑' if metric['higher_is_better'] else '↓'}"
            key, decimals = f"{name}_{setting}", metric["decimals"]
            lines.append(_line(label, [_mean(row, key, decimals) for row in rows]))
            if any(key + "_interval" in row for row in rows):
                ends = [_interval(row, key, decimals) for row in rows]
                lines.append(_line("    95% interval", ends))
            if any(key + "_seed_spread" in row for row in rows):
                spreads = [_number(row[key + "_seed_spread"], decimals + 1) for row in rows]
                lines.append(_line("    spread over seeds", spreads))
    return "\n".join([*lines, "", *summary["notes"]])


def _line(label: str, cells: Iterable[str]) -> str:
    return (
        f"{label:{_LABEL_WIDTH}}" + "".join(f"{cell:>{_CELL_WIDTH}}" for cell in cells)
    ).rstrip()


def _mean(row: dict[str, Any], key: str, decimals: int) -> str:
    value = _number(row[key], decimals)
    if key + "_standard_error" in row:
        return f"{value} ±{_number(row[key + '_standard_error'], decimals)}"
    return value


def _interval(row: dict[str, Any], key: str, decimals: int) -> str:
    low, high = (_number(end, decimals) for end in row[key + "_interval"])
    return f"[{low}, {high}]"


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
