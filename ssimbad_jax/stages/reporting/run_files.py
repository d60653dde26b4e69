"""What a workdir holds, read without trusting it: what is missing or broken becomes a note."""

import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from ssimbad_jax.diffusion import noise_axis
from ssimbad_jax.stages import calibrate, run_record
from ssimbad_jax.training import metric_log

CONFIG, LOG, SCORES = "config.json", "metrics.jsonl", "metrics.json"
REFINEMENT_LOG = "refine/metrics.jsonl"


class Calibration(NamedTuple):
    """A calibration.

    Attributes:
        record: content of `calibration.json`.
        axes: the noise axes of DDPM, EDM and the chosen scale.
    """

    record: dict[str, Any]
    axes: tuple[noise_axis.NoiseAxis, ...]


class Scores(NamedTuple):
    """A folder that scoring wrote.

    Attributes:
        name: of the folder, inside of the workdir.
        folder: where it lies.
        summary: content of `metrics.json`; `rows` is a list of objects, each with its `method`.
    """

    name: str
    folder: pathlib.Path
    summary: dict[str, Any]


class RunFiles(NamedTuple):
    """A run, as far as its files tell.

    Attributes:
        name: what pages call it.
        workdir: where it lies.
        config: its fields by name, such as `train.steps`; empty if unknown.
        log: rows of numbers, each with its `step`.
        refinement_log: the same of the refinement; empty if there is none.
        calibration: None if there is none.
        scores: one for each folder of results.
        record: content of `run.json`; empty if there is none.
        notes: what is missing or broken, one line each.
    """

    name: str
    workdir: pathlib.Path
    config: dict[str, Any]
    log: list[dict[str, float]]
    refinement_log: list[dict[str, float]]
    calibration: Calibration | None
    scores: tuple[Scores, ...]
    record: dict[str, Any]
    notes: tuple[str, ...]


def read(workdir: pathlib.Path, name: str) -> RunFiles:
    """Returns what a workdir holds.

    Raises:
        ValueError: it is no workdir of a run.
    """
    if not any((workdir / file).is_file() for file in (CONFIG, LOG, calibrate.RESULT)):
        raise ValueError(
            f"{workdir} is no run: it holds no {CONFIG}, {calibrate.RESULT} or {LOG}; name the "
            "--workdir of a run"
        )
    notes: list[str] = []
    config = flatten(_json(workdir / CONFIG, notes))
    log = _log(workdir / LOG, notes)
    if not log:
        notes.append(f"{LOG} holds no steps: not trained yet (--stages=train).")
    refinement_log = _log(workdir / REFINEMENT_LOG, notes)
    for rows, what, planned in (
        (log, "Training", config.get("train.steps")),
        (refinement_log, "Refinement", config.get("refine.steps")),
    ):
        done = rows[-1]["step"] if rows else 0
        if rows and isinstance(planned, int) and done < planned:
            notes.append(f"{what} is under way or was interrupted: step {done:g} of {planned}.")
    return RunFiles(
        name,
        workdir,
        config,
        log,
        refinement_log,
        _calibration(workdir / calibrate.RESULT, notes),
        _scores(workdir, notes),
        _record(workdir / run_record.RESULT, notes),
        tuple(notes),
    )


def names(workdirs: Sequence[pathlib.Path]) -> list[str]:
    """Returns a name for each run: its folder's, with as many parents as tell them apart."""
    parts = [workdir.resolve().parts for workdir in workdirs]
    for length in range(1, max(map(len, parts)) + 1):
        short = ["/".join(part[-length:]) for part in parts]
        if len(set(short)) == len(short):
            return short
    raise ValueError("a run is named twice; name each once")


def is_number(value: Any) -> bool:
    """Tells finite numbers from all else that JSON can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the fields of a nested config by their full names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _json(path: pathlib.Path, notes: list[str], remedy: str = "") -> dict[str, Any]:
    """Returns the object in a file; empty, with a note, if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no JSON object")
        return content
    except FileNotFoundError:
        notes.append(f"There is no {path.name}{remedy}.")
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} cannot be read: {error}.")
    return {}


def _log(path: pathlib.Path, notes: list[str]) -> list[dict[str, float]]:
    try:
        rows = [row for row in metric_log.read(path) if isinstance(row, dict)]
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} cannot be read: {error}.")
        return []
    return [
        {name: value for name, value in row.items() if is_number(value)}
        for row in rows
        if is_number(row.get("step"))
    ]


def _calibration(path: pathlib.Path, notes: list[str]) -> Calibration | None:
    record = _json(path, notes, ": not calibrated yet (--stages=calibrate)")
    if not record:
        return None
    try:
        scale = calibrate.scale_from_json(path)
        sigma_range = (record["request"]["sigma_min"], record["request"]["sigma_max"])
        axes = noise_axis.compared_axes(scale, *sigma_range)
        sound = len(record["sigma"]) == len(record["mean_ssim"]) and all(
            map(is_number, [*record["sigma"], *record["mean_ssim"]])
        )
        rows = [record["chosen"], record["best"], record["table"], *record["candidates"]]
        if not sound or not all(is_number(row["r2"]) for row in rows):
            raise ValueError("its curves or its R² are not numbers")
    except (KeyError, TypeError, ValueError) as error:
        notes.append(f"{path.name} cannot be used: {error}.")
        return None
    return Calibration(record, axes)


def _scores(workdir: pathlib.Path, notes: list[str]) -> tuple[Scores, ...]:
    """Returns every folder of results, by name."""
    found = []
    paths = sorted(workdir.rglob(SCORES))
    for path in paths:
        name = path.parent.relative_to(workdir).as_posix()
        before = len(notes)
        summary = _json(path, notes)
        rows = summary.get("rows")
        sound = isinstance(rows, list) and all(
            isinstance(row, dict) and isinstance(row.get("method"), str) for row in rows
        )
        if sound and isinstance(summary.get("metrics", {}), dict):
            found.append(Scores(name, path.parent, summary))
        elif len(notes) == before:
            notes.append(f"{name}/{path.name} holds no rows of scores.")
    if not paths:
        notes.append("There are no scores: not evaluated yet (--stages=evaluate).")
    return tuple(found)


def _record(path: pathlib.Path, notes: list[str]) -> dict[str, Any]:
    try:
        return run_record.read(path)
    except FileNotFoundError:
        notes.append(f"There is no {path.name}: times and versions are not known.")
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} cannot be read: {error}.")
    return {}
