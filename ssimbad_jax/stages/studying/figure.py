"""The figure of a study: scores against network calls, for the samplers and for the grids."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib import axes as axes_lib
from matplotlib import figure, lines, ticker

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import scores
from ssimbad_jax.stages.studying import findings, table
from ssimbad_jax.stages.studying.rows import METRICS, Row

FIGURE = "study.png"
# The grids are compared with this sampler, or else with the first.
SAMPLER_OF_GRIDS = "euler"

_COLOURS = ("#3b6fb6", "#b5473c", "#2f8f5b", "#8a5cb5", "#d08a1d", "#2ba3b4", "#4a4a4a", "#c25a9b")
_GREY, _PALE = "#4a4a4a", "#9aa3b2"
_DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)))
_TICKS = (1, 2, 3, 5, 10, 20, 50, 100)


class _View(NamedTuple):
    """Columns in which one thing differs and is told by colours.

    Attributes:
        title: of the columns.
        curves: what is drawn.
        kind: value of a curve that has a colour.
        names: what the legend calls each of these.
    """

    title: str
    curves: Mapping[findings.Curve, findings.Points]
    kind: Callable[[findings.Curve], str]
    names: Mapping[str, str]


def draw(folder: pathlib.Path, rows: Sequence[Row]) -> None:
    """Writes the figure, or nothing while the reference is not sampled yet.

    A row of cells for each measure and each of the weights, two columns for each view.

    Args:
        folder: of the results.
        rows: of the study.
    """
    references, views = findings.references(rows), _views(rows)
    if not views:
        return
    measures = [(m, w) for m in (*METRICS, findings.DISTANCE) for w in references]
    columns = [(view, setting) for view in views for setting in pairs.SETTINGS]
    size = (3.4 * len(columns), 2.1 * len(measures) + 1.3)
    picture = figure.Figure(figsize=size, layout="constrained")
    cells = picture.subplots(len(measures), len(columns), squeeze=False, sharex=True)
    dashes = dict(zip(_all(rows, "sigma_max"), _DASHES * len(rows), strict=False))
    for line, (measure, weights) in zip(cells, measures, strict=True):
        of_weights = [row for row in rows if row["weights"] == weights]
        for cell, (view, setting) in zip(line, columns, strict=True):
            _draw_curves(cell, view, weights, setting, measure, dashes)
            _draw_axes(cell, [row for row in of_weights if row["setting"] == setting], measure)
        line[0].set_ylabel(_label(measure) + (f"\n{weights}" if len(references) > 1 else ""))
    for cell, (view, setting) in zip(cells[0], columns, strict=True):
        cell.set_title(f"{view.title}\n{setting} reference", fontsize=10)
    for cell in cells[-1]:
        cell.set_xlabel("network calls")
    _add_legends(picture, views, dashes)
    picture.savefig(folder / FIGURE, dpi=110, bbox_inches="tight")


def _add_legends(
    picture: figure.Figure, views: Sequence[_View], dashes: Mapping[float, Any]
) -> None:
    for view, place in zip(views, ("left", "right"), strict=True):
        colours = _colours(view)
        handles = [lines.Line2D([], [], color=colours[k], label=n) for k, n in view.names.items()]
        options: dict[str, Any] = {"loc": f"outside upper {place}", "ncols": 3, "fontsize": 9}
        picture.legend(handles=handles, frameon=False, **options)
    of_dashes = [
        lines.Line2D([], [], color=_GREY, linestyle=dash, label=f"from σ {sigma_max:g}")
        for sigma_max, dash in dashes.items()
    ]
    reference = lines.Line2D([], [], color=_PALE, label=table.REFERENCE)
    picture.legend(
        handles=[*of_dashes, reference],
        loc="outside lower center",
        ncols=6,
        frameon=False,
        title="lines that leave a cell go on to scores worse than it shows",
        title_fontsize=9,
    )


def _views(rows: Sequence[Row]) -> list[_View]:
    """Returns what the columns show; nothing while the reference is not sampled."""
    curves = findings.curves(row for row in rows if not row["is_reference"])
    own = next((row for row in rows if row["is_reference"]), None)
    if own is None or not curves:
        return []
    samplers = list(dict.fromkeys(curve.sampler for curve in curves))
    sampler = SAMPLER_OF_GRIDS if SAMPLER_OF_GRIDS in samplers else samplers[0]
    return [
        _View(
            f"samplers on {own['grid_label']}",
            {curve: points for curve, points in curves.items() if curve.grid == own["grid"]},
            lambda curve: curve.sampler,
            {name: name for name in samplers},
        ),
        _View(
            f"grids, {sampler}",
            {curve: points for curve, points in curves.items() if curve.sampler == sampler},
            lambda curve: curve.grid,
            {row["grid"]: row["grid_label"] for row in rows},
        ),
    ]


def _draw_curves(
    cell: axes_lib.Axes,
    view: _View,
    weights: str,
    setting: str,
    measure: str,
    dashes: Mapping[float, Any],
) -> None:
    """Draws one measure in one setting."""
    colours = _colours(view)
    for curve, points in view.curves.items():
        drawn = [
            (calls, by_setting[setting][measure])
            for calls, by_setting in points.items()
            if setting in by_setting and by_setting[setting][measure] is not None
        ]
        if drawn and curve.weights == weights:
            cell.plot(
                *zip(*drawn, strict=True),
                color=colours[view.kind(curve)],
                linestyle=dashes[curve.sigma_max],
                linewidth=1.4,
                marker="o",
                markersize=2.5,
            )


def _draw_axes(cell: axes_lib.Axes, rows: Sequence[Row], measure: str) -> None:
    """Draws the reference, and limits the cell alike in all columns of a setting."""
    known = [row for row in rows if row[measure] is not None]
    if measure == findings.DISTANCE:
        cell.set_yscale("log")
        cell.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
        cell.yaxis.set_minor_locator(ticker.NullLocator())
        cell.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        positive = [row[measure] for row in known if row[measure] > 0]
        if positive:
            cell.set_ylim(min(positive) / 1.2, max(positive) * 1.2)
    elif known:
        # What is near the reference or better; a walk that went wrong would flatten all others.
        best = findings.best(known, measure)
        shown = [
            row[measure]
            for row in known
            if row is best or row["is_reference"] or row["network_calls"] == 1
        ]
        low, high = min(shown), max(shown)
        good, bad = 0.08 * (high - low) + 1e-3, 0.6 * (high - low) + 1e-3
        is_up = scores.METRICS[measure].higher_is_better
        cell.set_ylim(low - (bad if is_up else good), high + (good if is_up else bad))
        for row in known:
            if row["is_reference"]:
                cell.axhline(row[measure], color=_PALE, linewidth=1.2, zorder=1)
    cell.set_xscale("log")
    cell.xaxis.set_major_locator(ticker.FixedLocator(_TICKS))
    cell.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    cell.xaxis.set_minor_locator(ticker.NullLocator())
    cell.grid(alpha=0.25)
    cell.spines[["top", "right"]].set_visible(False)


def _colours(view: _View) -> dict[str, str]:
    return dict(zip(view.names, _COLOURS * len(view.names), strict=False))


def _all(rows: Sequence[Row], name: str) -> list[Any]:
    return list(dict.fromkeys(row[name] for row in rows))


def _label(measure: str) -> str:
    if measure == findings.DISTANCE:
        return f"distance to\n{table.REFERENCE} ↓"
    metric = scores.METRICS[measure]
    unit = f" ({metric.unit})" if metric.unit else ""
    return f"{metric.label}{unit} {'↑' if metric.higher_is_better else '↓'}"
