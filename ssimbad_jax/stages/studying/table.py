"""What a study found, as a page in Markdown: how few calls suffice, and all scores."""

import pathlib
from collections.abc import Iterable, Sequence

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import scores
from ssimbad_jax.stages.studying import findings, plan
from ssimbad_jax.stages.studying.rows import METRICS, Row

PAGE = "study.md"
REFERENCE = f"{plan.REFERENCE_SAMPLER.capitalize()}-{plan.REFERENCE_STEPS}"

_MISSING = "–"
_CURVE_COLUMNS = ("weights", "sampler", "grid", "σ_max")
_NOTE = (
    f"A score as good as that of {REFERENCE} does not mean the same pictures: a walk of few steps "
    "stays nearer to the mean of all pictures that fit the condition, and a metric may like that. "
    f"The distance to the pictures of {REFERENCE} from the same noise, the root mean square over "
    "all pixels in levels of 255, is the fairer measure of a solver's error. Samplers that draw "
    "noise on their way solve another equation and have no such distance. One call is the "
    "posterior mean, whatever the sampler and the grid."
)


def write(folder: pathlib.Path, rows: Sequence[Row]) -> None:
    """Writes the page."""
    parts = ["# Samplers and network calls", answer(rows), "## All scores", _all_scores(rows)]
    (folder / PAGE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def answer(rows: Sequence[Row]) -> str:
    """Returns the fewest calls with which each sampler and grid does what the reference does."""
    references = findings.references(rows)
    if not references:
        return f"{REFERENCE} is not sampled yet: there is nothing to compare with."
    scored = {f"{_label(m)} {s}": [(m, s)] for s in pairs.SETTINGS for m in METRICS}
    everything = [needed for column in scored.values() for needed in column]
    distances = {f"pictures {s}": [(findings.DISTANCE, s)] for s in pairs.SETTINGS}
    columns = {**scored, "all scores": everything, **distances}
    labels, lines = _grid_labels(rows), []
    curves = findings.curves(row for row in rows if not row["is_reference"])
    for curve, points in curves.items():
        reference = references.get(curve.weights, {})
        counts = [findings.fewest_calls(points, reference, c) for c in columns.values()]
        cells = [_MISSING if count is None else str(count) for count in counts]
        lines.append([*_curve_cells(curve, labels), *cells])
    tolerances = ", ".join(
        f"{_label(metric)} within {tolerance:g} {scores.METRICS[metric].unit}".rstrip()
        for metric, tolerance in findings.TOLERANCES.items()
    )
    parts = [
        *(_describe(row) for by_setting in references.values() for row in by_setting.values()),
        *(_best(weights, rows, everything) for weights in references),
        f"Fewest network calls that are as good ({tolerances}), or whose pictures differ from "
        f"those of {REFERENCE} by at most {findings.SAME_PICTURES:g} levels of 255:",
        _markdown([*_CURVE_COLUMNS, *columns], lines),
        _NOTE,
    ]
    return "\n\n".join(parts)


def _describe(row: Row) -> str:
    values = ", ".join(f"{_label(metric)} {_score(row, metric)}" for metric in METRICS)
    return (
        f"{row['weights']} (step {row['checkpoint_step']}), {row['setting']} reference: "
        f"{REFERENCE} on {row['grid_label']}, {row['network_calls']} network calls, has {values} "
        f"on {row['pictures']} pictures."
    )


def _best(weights: str, rows: Sequence[Row], everything: list[tuple[str, str]]) -> str:
    """Returns a sentence: which combinations need the fewest calls for all scores at once."""
    reference, labels = findings.references(rows)[weights], _grid_labels(rows)
    found = {
        curve: findings.fewest_calls(points, reference, everything)
        for curve, points in findings.curves(rows).items()
        if curve.weights == weights
    }
    counts = [count for count in found.values() if count is not None]
    if not counts:
        return f"{weights}: {REFERENCE} is not sampled yet in both settings."
    fewest = min(counts)
    names = (
        f"{curve.sampler} on {labels[curve.grid]} from σ {curve.sigma_max:g}"
        for curve, count in found.items()
        if count == fewest
    )
    return (
        f"{weights}: all scores of both settings are as good as those of {REFERENCE} with "
        f"{fewest} network call{'s' if fewest > 1 else ''}, by {'; '.join(names)}."
    )


def _all_scores(rows: Sequence[Row]) -> str:
    labels, lines = _grid_labels(rows), []
    for curve, points in findings.curves(rows).items():
        for calls, by_setting in points.items():
            cells = [*_curve_cells(curve, labels), str(calls)]
            for setting in pairs.SETTINGS:
                row = by_setting.get(setting, {})
                cells += [_score(row, metric) for metric in METRICS]
                cells.append(_number(row.get(findings.DISTANCE), 1))
            seconds = [row["seconds_per_picture"] for row in by_setting.values()]
            lines.append([*cells, _number(sum(seconds) / len(seconds), 3)])
    columns = [
        f"{name} {setting}"
        for setting in pairs.SETTINGS
        for name in (*map(_label, METRICS), f"distance to {REFERENCE}")
    ]
    return _markdown([*_CURVE_COLUMNS, "calls", *columns, "seconds a picture"], lines)


def _grid_labels(rows: Iterable[Row]) -> dict[str, str]:
    return {row["grid"]: row["grid_label"] for row in rows}


def _curve_cells(curve: findings.Curve, labels: dict[str, str]) -> list[str]:
    return [curve.weights, curve.sampler, labels[curve.grid], f"{curve.sigma_max:g}"]


def _label(metric: str) -> str:
    return scores.METRICS[metric].label


def _score(row: Row, metric: str) -> str:
    return _number(row.get(metric), scores.METRICS[metric].decimals)


def _number(value: float | None, decimals: int) -> str:
    return _MISSING if value is None else f"{value:.{decimals}f}"


def _markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return "\n".join(
        f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *lines)
    )
