"""Which curves of a run, or of several over each other, are drawn."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ssimbad_jax.diffusion import noise_axis, scale_selection
from ssimbad_jax.stages.reporting import charts, run_files


class _Quantity(NamedTuple):
    title: str
    columns: dict[str, str]  # of metrics.jsonl, with their names in the legend
    log_y: bool = True


_BEFORE_RANGES = (
    _Quantity("Loss", {"loss": "training", "validation_loss": "held out, averaged parameters"}),
)
_AFTER_RANGES = (
    _Quantity("Norm of the gradient", {"gradient_norm": "gradient"}),
    _Quantity("Norm of the update", {"update_norm": "update"}),
    _Quantity("Learning rate", {"learning_rate": "learning rate"}, log_y=False),
    _Quantity("Pictures a second", {"images_per_second": "pictures a second"}, log_y=False),
)
_RANGE = re.compile(r"loss_sigma_([\d.]+)_to_([\d.]+|inf)")


def training(runs: Sequence[run_files.RunFiles]) -> list[charts.Chart]:
    """Returns the charts of `metrics.jsonl`.

    One run has quantities of a kind in one chart, several runs have a chart for each quantity.
    """
    return _charts(runs, "train")


def refinement(runs: Sequence[run_files.RunFiles]) -> list[charts.Chart]:
    """Returns the charts of `refine/metrics.jsonl`; see `training`."""
    return _charts([run._replace(log=run.refinement_log) for run in runs], "refine")


def _charts(runs: Sequence[run_files.RunFiles], section: str) -> list[charts.Chart]:
    """Returns the charts of the runs' `log`, which is that of a section of the config."""
    quantities = [*_BEFORE_RANGES, _sigma_ranges(runs), *_AFTER_RANGES]
    if len(runs) > 1:
        quantities = [single for quantity in quantities for single in _split(quantity)]
    drawn = []
    for quantity in quantities:
        lines = list(_lines(runs, quantity, section))
        if lines:
            x_label = "step" if _counts_steps(runs, section) else "pictures seen"
            drawn.append(charts.line_chart(quantity.title, lines, x_label, log_y=quantity.log_y))
    return drawn


def calibration(run: run_files.RunFiles) -> charts.Chart | None:
    """Returns SSIM against u along each noise axis, with the straight line fitted to it."""
    if run.calibration is None:
        return None
    record = run.calibration.record
    curves = scale_selection.SsimCurves(
        np.asarray(record["sigma"], float), np.asarray(record["mean_ssim"], float)
    )
    u = np.linspace(0.0, 1.0, 200)
    lines = []
    for style, axis in enumerate(run.calibration.axes):
        values = curves.at(axis.levels(len(u)))
        slope, offset = np.polyfit(u, values, 1)
        name = f"{axis.name}, R² {noise_axis.axis_r2(axis, curves):.3f}"
        lines.append(charts.Line(name, u, values, style, fit=offset + slope * u))
    title = f"SSIM along the noise axis of {run.name}"
    return charts.line_chart(title, lines, "u, normalised", y_range=(-0.12, 1.05))


def _sigma_ranges(runs: Sequence[run_files.RunFiles]) -> _Quantity:
    found = {
        (float(match[1]), float(match[2])): match[0]
        for run in runs
        for row in run.log
        for match in map(_RANGE.fullmatch, row)
        if match
    }
    return _Quantity(
        "Loss by noise level",
        {found[low, high]: _range_name(low, high) for low, high in sorted(found)},
    )


def _range_name(low: float, high: float) -> str:
    if low == 0:
        return f"σ below {high:g}"
    return f"σ above {low:g}" if high == float("inf") else f"σ {low:g} to {high:g}"


def _split(quantity: _Quantity) -> Iterator[_Quantity]:
    for column, name in quantity.columns.items():
        several = len(quantity.columns) > 1
        title = f"{quantity.title}, {name}" if several else quantity.title
        yield quantity._replace(title=title, columns={column: name})


def _lines(
    runs: Sequence[run_files.RunFiles], quantity: _Quantity, section: str
) -> Iterator[charts.Line]:
    several = len(runs) > 1
    for run_number, run in enumerate(runs):
        scale = 1.0 if _counts_steps(runs, section) else run.config[f"{section}.batch_size"]
        for column_number, (column, name) in enumerate(quantity.columns.items()):
            points = {row["step"]: row[column] for row in run.log if column in row}
            if points:
                x, y = (np.asarray(list(part), float) for part in (points, points.values()))
                style = run_number if several else column_number
                yield charts.Line(run.name if several else name, x * scale, y, style)


def _counts_steps(runs: Sequence[run_files.RunFiles], section: str) -> bool:
    """Tells whether steps of the runs can be compared, or else pictures seen."""
    sizes = [run.config.get(f"{section}.batch_size") for run in runs]
    return len(set(map(str, sizes))) == 1 or not all(map(run_files.is_number, sizes))
