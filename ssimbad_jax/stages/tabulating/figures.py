"""A figure for each question that a reader of the table has, drawn of the rows that are there."""

import itertools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from matplotlib import axes as axes_lib
from matplotlib import figure, ticker

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import scores
from ssimbad_jax.stages.tabulating import results as results_lib
from ssimbad_jax.stages.tabulating import rows as rows_lib
from ssimbad_jax.stages.tabulating.results import Result, Results

FOLDER = "figures"

_COLOURS = ("#3b6fb6", "#b5473c", "#2f8f5b", "#8a5cb5", "#d08a1d", "#2ba3b4", "#c25a9b", "#4a4a4a")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h")
_PALE = "#9aa3b2"
# Of labels from their points, in points: neighbours may lie on each other.
_OFFSETS = ((5, 4), (-7, -12))
_TICKS = (1, 2, 3, 5, 10, 20, 50, 100)


class Figure(NamedTuple):
    """A figure.

    Attributes:
        name: of its file, without the ending.
        question: that it answers, the heading.
        about: what is drawn.
        draw: draws it into an empty figure, or returns False where its rows are missing.
    """

    name: str
    question: str
    about: str
    draw: Callable[[figure.Figure, Results], bool]


def write(out: pathlib.Path, found: Results) -> list[tuple[Figure, pathlib.Path]]:
    """Writes the figures whose rows are there, and returns them with their files.

    Raises:
        OSError: they cannot be written.
    """
    written = []
    for about in FIGURES:
        path, picture = out / FOLDER / f"{about.name}.png", figure.Figure(layout="constrained")
        if about.draw(picture, found):
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.savefig(path, dpi=110, bbox_inches="tight")
            written.append((about, path))
    return written


def _scales(picture: figure.Figure, found: Results) -> bool:
    return _draw_by_calls(picture, found, ("ssimbad", "edm"), line="regression")


def _fitted_scales(picture: figure.Figure, found: Results) -> bool:
    return _draw_by_calls(picture, found, ("ssimbad", "best_scale", "table_scale"))


def _draw_by_calls(
    picture: figure.Figure, found: Results, names: Sequence[str], line: str = ""
) -> bool:
    """Draws scores against network calls, a curve a row; needs two rows.

    Args:
        picture: to draw in.
        found: all results.
        names: of the rows that are curves.
        line: name of a row whose one result is a level line.
    """
    curves = [of_row for name in names if (of_row := _by_calls(found, name))]
    if len(curves) < 2:
        return False
    metrics = _drawn_metrics(found, ("psnr", "ssim", "lpips_alex", "frechet_vgg16"))
    level = found.of_scoring(line, "own") if line else None
    picture.set_size_inches(3.0 * len(metrics) + 0.4, 5.4)
    cells = picture.subplots(len(pairs.SETTINGS), len(metrics), squeeze=False, sharex=True)
    for cell_row, setting in zip(cells, pairs.SETTINGS, strict=True):
        for cell, metric in zip(cell_row, metrics, strict=True):
            key = f"{metric}_{setting}"
            for of_row, colour in zip(curves, _COLOURS, strict=False):
                _draw_curve(cell, of_row, key, colour)
            if level is not None and key in level.scores:
                cell.axhline(
                    level.scores[key].mean, color=_PALE, linewidth=1.4, label=level.label, zorder=1
                )
            _label(cell, "network calls", _text(metric))
            cell.set_title(f"{setting} reference", fontsize=10)
            _ticks_of_calls(cell)
    _add_legend(picture, cells[0][0])
    return True


def _draw_curve(cell: axes_lib.Axes, of_row: Sequence[Result], key: str, colour: str) -> None:
    """Draws a curve through the posterior mean and Euler's walks; other samplers stand alone."""
    drawn = [result for result in of_row if key in result.scores]
    walks = [r for r in drawn if r.method.startswith("euler") or r.network_calls == 1]
    others = [result for result in drawn if result not in walks]
    for points, line, marker in ((walks, "-", "o"), (others, "", "D")):
        if points:
            cell.errorbar(
                [result.network_calls for result in points],
                [result.scores[key].mean for result in points],
                [result.scores[key].spread or 0.0 for result in points],
                color=colour,
                linestyle=line,
                marker=marker,
                markersize=4,
                linewidth=1.4,
                capsize=2.5,
                label=f"{points[0].label}, {'Euler' if line else points[0].method}",
            )


def _refinement(picture: figure.Figure, found: Results) -> bool:
    """Draws fidelity against sharpness: a move along the curve is no more than a compromise."""
    before = _by_calls(found, "ssimbad")
    refined = _refined(found, clipped=False)
    if not before or not refined:
        return False
    regression = found.of_scoring("regression", "own")
    planes = [
        plane
        for plane in (("psnr", "lpips_alex"), ("ssim", "frechet_vgg16"))
        if _drawn_metrics(found, plane) == list(plane)
    ]
    picture.set_size_inches(9.6, 4.3 * len(planes) + 0.4)
    cells = picture.subplots(max(1, len(planes)), len(pairs.SETTINGS), squeeze=False)
    groups = (
        ("before refinement, by calls", before, _COLOURS[0], "o-"),
        ("mean of eight answers", _of_means(found), _COLOURS[4], "*"),
        ("refined, by K", refined, _COLOURS[1], "s-"),
        ("refined, estimates clipped", _refined(found, clipped=True), _COLOURS[1], "P"),
        ("regression", [regression] if regression else [], _COLOURS[2], "D"),
    )
    for cell_row, (x_metric, y_metric) in zip(cells, planes, strict=False):
        for cell, setting in zip(cell_row, pairs.SETTINGS, strict=True):
            for label, of_group, colour, style in groups:
                _draw_plane(cell, of_group, (x_metric, y_metric), setting, label, colour, style)
            _label(cell, _text(x_metric), _text(y_metric))
            cell.set_title(f"{setting} reference", fontsize=10)
    _add_legend(picture, cells[0][0])
    return bool(planes)


def _draw_plane(
    cell: axes_lib.Axes,
    of_group: Sequence[Result],
    metrics: tuple[str, str],
    setting: str,
    label: str,
    colour: str,
    style: str,
) -> None:
    keys = [f"{metric}_{setting}" for metric in metrics]
    drawn = [result for result in of_group if all(key in result.scores for key in keys)]
    if not drawn:
        return
    x, y = ([result.scores[key].mean for result in drawn] for key in keys)
    cell.plot(x, y, style, color=colour, label=label, linewidth=1.0, markersize=6)
    if style.endswith("-"):
        places = zip(x, y, strict=True)
        for result, place, offset in zip(drawn, places, itertools.cycle(_OFFSETS), strict=False):
            cell.annotate(
                str(result.network_calls),
                place,
                xytext=offset,
                textcoords="offset points",
                fontsize=8,
                color=colour,
            )


def _cross(picture: figure.Figure, found: Results) -> bool:
    """Draws what is kept of the target against how far the reference's colours are obeyed."""
    obeyed = "palette_to_reference_cross"
    shown = [r for r in _one_a_row(found) if obeyed in r.scores]
    metrics = _drawn_metrics(found, ("ssim", "psnr", "lpips_alex"))
    if len([result for result in shown if result.row]) < 2 or not metrics:
        return False
    picture.set_size_inches(4.0 * len(metrics), 4.6)
    cells = picture.subplots(1, len(metrics), squeeze=False)[0]
    for cell, metric in zip(cells, metrics, strict=True):
        for number, result in enumerate(shown):
            key = f"{metric}_cross"
            if key in result.scores:
                colour = _COLOURS[number % len(_COLOURS)] if result.row else _PALE
                cell.plot(
                    result.scores[obeyed].mean,
                    result.scores[key].mean,
                    _MARKERS[number % len(_MARKERS)],
                    color=colour,
                    markersize=7,
                    label=f"{result.label}, {result.method}" if result.row else result.label,
                )
        _label(cell, _text("palette_to_reference"), _text(metric))
    _add_legend(picture, cells[0])
    return True


FIGURES = (
    Figure(
        "scale",
        "Does the SSIM-straight scale help over EDM's, at equal samples and at equal calls?",
        "Scores against network calls after as many training samples: the posterior mean at one "
        "call, then Euler on parts of each schedule's own 50-step grid; diamonds are Heun-50. Bars "
        "are standard deviations over seeds.",
        _scales,
    ),
    Figure(
        "fitted_scale",
        "Does the table scale beat the best c?",
        "As above: the paper's c = 0.3, the c that fits these pictures best, and the table along "
        "which SSIM falls linearly by construction, each trained and sampled with.",
        _fitted_scales,
    ),
    Figure(
        "refinement",
        "Is refinement more than a move to the posterior mean?",
        "Fidelity against sharpness or realism. Before refinement more calls move along the blue "
        "curve, whose end at one call is the posterior mean; the mean of eight answers to noise "
        "and a regression are other ways to be near it. What lies beyond the curve towards the "
        "lower right is more than a move along it. Small numbers are network calls.",
        _refinement,
    ),
    Figure(
        "cross",
        "What does the cross setting need?",
        "Somebody else's face as the reference. To the left: the reference's colours are obeyed. "
        "Upwards (PSNR, SSIM) or downwards (LPIPS): the target, whose lines were asked for and "
        "whose colours were not, is kept.",
        _cross,
    ),
)


def _by_calls(found: Results, row: str) -> list[Result]:
    """Returns a row's results, few calls first, without means of several answers."""
    single = [
        r for r in found.of_row(row) if r.method == results_lib.POSTERIOR_MEAN or not _is_mean(r)
    ]
    return sorted(single, key=lambda result: result.network_calls)


def _of_means(found: Results) -> list[Result]:
    return [
        r for r in found.of_row("ssimbad") if _is_mean(r) and r.method != results_lib.POSTERIOR_MEAN
    ]


def _is_mean(result: Result) -> bool:
    return results_lib.is_posterior_mean(result.method)


def _refined(found: Results, clipped: bool) -> list[Result]:
    """Returns what was refined, with clipped estimates or as in the paper, few calls first."""
    of_refined = [
        result
        for result in found.results
        if result.row is not None
        and result.row.start == "ssimbad"
        and result.row.fields.get("refine.clip_denoised", False) == clipped
    ]
    return sorted(of_refined, key=lambda result: result.network_calls)


def _one_a_row(found: Results) -> list[Result]:
    """Returns what each row's first scoring found, and the answers that need no network."""
    rows = dict.fromkeys(r.row.name for r in found.results if r.row is not None)
    first = (found.of_scoring(name, rows_lib.ROWS[name].scorings[0]) for name in rows)
    simple = [result for result in found.results if result.row is None]
    return [*(result for result in first if result is not None), *simple]


def _drawn_metrics(found: Results, metrics: Sequence[str]) -> list[str]:
    return [metric for metric in metrics if metric in found.metrics]


def _label(cell: axes_lib.Axes, x: str, y: str) -> None:
    cell.set_xlabel(x)
    cell.set_ylabel(y)
    cell.grid(alpha=0.25)
    cell.spines[["top", "right"]].set_visible(False)


def _ticks_of_calls(cell: axes_lib.Axes) -> None:
    cell.set_xscale("log")
    cell.xaxis.set_major_locator(ticker.FixedLocator(_TICKS))
    cell.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    cell.xaxis.set_minor_locator(ticker.NullLocator())


def _add_legend(picture: figure.Figure, cell: axes_lib.Axes) -> None:
    handles, labels = cell.get_legend_handles_labels()
    options: dict[str, Any] = {"loc": "outside upper center", "ncols": min(4, len(labels))}
    picture.legend(handles, labels, frameon=False, fontsize=9, **options)


def _text(metric: str) -> str:
    about = scores.METRICS[metric]
    unit = f" ({about.unit})" if about.unit else ""
    return f"{about.label}{unit} {'↑' if about.higher_is_better else '↓'}"
