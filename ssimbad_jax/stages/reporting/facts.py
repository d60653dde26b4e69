"""Short facts about runs: what was run, how the configs differ, versions and times."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ssimbad_jax.configs import edm_ssimbad
from ssimbad_jax.stages import components, run_record
from ssimbad_jax.stages.reporting import run_files
from ssimbad_jax.stages.reporting.numbers import MISSING
from ssimbad_jax.training import progress

PAPER = "configs/edm_ssimbad.py"


class Fact(NamedTuple):
    """A row of a table.

    Attributes:
        name: of the row.
        values: one a run.
    """

    name: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Tells whether the runs disagree."""
        return len(set(self.values)) > 1


def overview(runs: Sequence[run_files.RunFiles]) -> list[Fact]:
    """Returns what was run and how far it came."""
    return _table(
        runs,
        {
            "Config": lambda run: str(run.record.get("config") or MISSING),
            "Pictures": _pictures,
            "Network": _network,
            "Noise schedule": _schedule,
            "Training": _training,
            "Refinement": _refinement,
            "Loss, last": lambda run: _last(run, "loss"),
            "Held-out loss, least": _least_validation_loss,
            "Time in all": lambda run: _duration(sum(_seconds(run).values())),
            "Devices": _devices,
        },
    )


def times(runs: Sequence[run_files.RunFiles]) -> list[Fact]:
    """Returns how long each stage took, over all its starts, and when it ended."""
    stages = list(dict.fromkeys(stage for run in runs for stage in _seconds(run)))
    return [Fact(stage, tuple(_time(run, stage) for run in runs)) for stage in stages]


def versions(runs: Sequence[run_files.RunFiles]) -> list[Fact]:
    """Returns the versions of what ran last."""
    known = [run.record.get("versions") for run in runs]
    by_run = [versions if isinstance(versions, dict) else {} for versions in known]
    packages = list(dict.fromkeys(name for versions in by_run for name in versions))
    return [
        Fact(str(name), tuple(str(versions.get(name, MISSING)) for versions in by_run))
        for name in packages
    ]


def config(runs: Sequence[run_files.RunFiles]) -> tuple[list[Fact], list[Fact], list[Fact]]:
    """Returns config fields, the paper's value last: unlike it, unlike between runs, all."""
    paper = run_files.flatten(components.as_json(edm_ssimbad.get_config()))
    columns = [*(run.config for run in runs), paper]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [Fact(name, tuple(_text(column, name) for column in columns)) for name in names]
    from_paper = [row for row in rows if row.differs]
    between = [row for row in rows if len(set(row.values[: len(runs)])) > 1]
    return from_paper, between, rows


def _table(
    runs: Sequence[run_files.RunFiles], cells: dict[str, Callable[[run_files.RunFiles], str]]
) -> list[Fact]:
    return [Fact(name, tuple(map(cell, runs))) for name, cell in cells.items()]


def _text(fields: dict[str, Any], name: str) -> str:
    if name not in fields:
        return MISSING
    value = fields[name]
    if isinstance(value, str):
        return value or "“”"
    return json.dumps(value, ensure_ascii=False)


def _pictures(run: run_files.RunFiles) -> str:
    if not run.config:
        return MISSING
    size = _text(run.config, "data.image_size")
    folder = str(run.config.get("data.dir", "")).rstrip("/\\").replace("\\", "/")
    return f"{folder.rpartition('/')[-1] or 'built-in toy faces'}, {size} px"


# What networks other than the U-Net are called.
_NETWORKS = {"scft": "SCFT"}


def _network(run: run_files.RunFiles) -> str:
    if not run.config:
        return MISSING
    base, multipliers, groups = (
        _text(run.config, f"model.{name}")
        for name in ("base_channels", "channel_multipliers", "num_groups")
    )
    network = _NETWORKS.get(_text(run.config, "model.name"), "U-Net")
    return f"{network}, {base} channels × {multipliers}, {groups} groups"


# What schedules without a calibrated scale are called.
_SCHEDULES = {"edm": "EDM", "ddpm": "DDPM", "single": "a single noise level"}


def _schedule(run: run_files.RunFiles) -> str:
    if (name := run.config.get("diffusion.schedule")) in _SCHEDULES:
        return _SCHEDULES[name]
    if run.calibration is None:
        return MISSING
    chosen = run.calibration.record["chosen"]
    return f"SSIMBaD, {chosen.get('name', '?')}, R² {chosen['r2']:.3f}"


def _training(run: run_files.RunFiles) -> str:
    return _steps(run, run.log, "train") if run.log else "not begun"


def _refinement(run: run_files.RunFiles) -> str:
    if not run.refinement_log:
        return MISSING
    sampler, steps = (_text(run.config, f"refine.{name}") for name in ("sampler", "sampler_steps"))
    return f"{sampler}-{steps}, {_steps(run, run.refinement_log, 'refine')}"


def _steps(run: run_files.RunFiles, log: list[dict[str, float]], section: str) -> str:
    step, planned = log[-1]["step"], run.config.get(f"{section}.steps")
    batch = run.config.get(f"{section}.batch_size")
    text = f"{step:,.0f}" + (f" of {planned:,}" if isinstance(planned, int) and planned else "")
    return text + (f" steps of {batch} pictures" if run_files.is_number(batch) else " steps")


def _last(run: run_files.RunFiles, column: str) -> str:
    values = [row[column] for row in run.log if column in row]
    return f"{values[-1]:.4f}" if values else MISSING


def _least_validation_loss(run: run_files.RunFiles) -> str:
    rows = [row for row in run.log if "validation_loss" in row]
    if not rows:
        return MISSING
    least = min(rows, key=lambda row: row["validation_loss"])
    return f"{least['validation_loss']:.4f} at step {least['step']:,.0f}"


def _seconds(run: run_files.RunFiles) -> dict[str, float]:
    """Returns the seconds of each stage but this one, which is not over yet."""
    stages = run.record.get("stages", {})
    return {name: stage["seconds"] for name, stage in stages.items() if name != "report"}


def _time(run: run_files.RunFiles, stage: str) -> str:
    found = run.record.get("stages", {}).get(stage)
    if not found:
        return MISSING
    starts, finished = found["starts"], found.get("finished")
    end = f"ended {str(finished)[:16].replace('T', ' ')} UTC" if finished else "not finished"
    return f"{_duration(found['seconds'])}, {starts} start{'s' * (starts != 1)}, {end}"


def _duration(seconds: float) -> str:
    if seconds == 0:
        return MISSING
    return f"{seconds:.1f} s" if seconds < 10 else progress.format_duration(seconds)


def _devices(run: run_files.RunFiles) -> str:
    return run_record.name_of(run.record.get("devices")) or MISSING
