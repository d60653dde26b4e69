"""What a study found, as a page in Markdown: how few calls suffice, and all scores."""

import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import scores
from ssimbad_jax.stages.studying import findings, plan
from ssimbad_jax.stages.studying.rows import METRICS, Row

PAGE = "study.md"
REFERENCE = f"{plan.REFERENCE_SAMPLER.capitalize()}-{plan.REFERENCE_STEPS}"

_MISSING = "–"
_NAMED = 3  # combinations, where several are equally good
_CURVE_COLUMNS = ("weights", "sampler", "grid", "σ_max")
_ALL_SCORES = "all scores"
_DISTANCE = f"distance to {REFERENCE}"
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
    """Returns how few calls do what the reference does, and what is best with few calls."""
    references = findings.references(rows)
    if not references:
        return f"{REFERENCE} is not sampled yet: there is nothing to compare with."
    tolerances = ", ".join(
        f"{_label(metric)} within {tolerance:g} {scores.METRICS[metric].unit}".rstrip()
        for metric, tolerance in findings.TOLERANCES.items()
    )
    parts = [
        *(_describe(row) for by_setting in references.values() for row in by_setting.values()),
        *(line for weights in references for line in _headlines(weights, rows)),
        f"Network calls that are as good as {REFERENCE} ({tolerances}), or whose pictures differ "
        f"from its own by at most {findings.SAME_PICTURES:g} levels of 255; + is all that were "
        "tried from there on:",
        _reaching(rows),
        _NOTE,
        "The best with at most so many calls:",
        _best_within(rows),
    ]
    return "\n\n".join(parts)


def _needed() -> dict[str, list[tuple[str, str]]]:
    """Returns what there is to reach, metrics with their settings, by the column's name."""
    scored = {f"{_label(m)} {s}": [(m, s)] for s in pairs.SETTINGS for m in METRICS}
    distances = {f"pictures {s}": [(findings.DISTANCE, s)] for s in pairs.SETTINGS}
    return {**scored, _ALL_SCORES: list(itertools.chain(*scored.values())), **distances}


def _describe(row: Row) -> str:
    values = ", ".join(f"{_label(metric)} {_score(row, metric)}" for metric in METRICS)
    return (
        f"{row['weights']} (step {row['checkpoint_step']}), {row['setting']} reference: "
        f"{REFERENCE} on {row['grid_label']}, {row['network_calls']} network calls, has {values} "
        f"on {row['pictures']} pictures."
    )


def _headlines(weights: str, rows: Sequence[Row]) -> Iterator[str]:
    """Yields which combinations reach all scores, and the pictures, with the fewest calls."""
    reference, labels = findings.references(rows)[weights], _grid_labels(rows)
    for what, needed in (
        ("all scores of both settings are as good as", _needed()[_ALL_SCORES]),
        ("the pictures of both settings are", [(findings.DISTANCE, s) for s in pairs.SETTINGS]),
    ):
        fewest = {
            curve: min(findings.reaching_calls(points, reference, needed), default=None)
            for curve, points in _curves(rows).items()
            if curve.weights == weights
        }
        least = min((calls for calls in fewest.values() if calls is not None), default=None)
        if least is None:
            yield f"{weights}: {what} those of {REFERENCE} with none of the combinations."
            continue
        found = [curve for curve, calls in fewest.items() if calls == least]
        names = list(dict.fromkeys(_name(curve, least, labels) for curve in found))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        calls = "1 network call" if least == 1 else f"{least} network calls"
        by = "; ".join(names[:_NAMED])
        yield f"{weights}: {what} those of {REFERENCE} with {calls}, by {by}{more}."


def _reaching(rows: Sequence[Row]) -> str:
    references, labels, lines = findings.references(rows), _grid_labels(rows), []
    for curve, points in _curves(rows).items():
        reference = references.get(curve.weights, {})
        reached = (findings.reaching_calls(points, reference, n) for n in _needed().values())
        lines.append([*_curve_cells(curve, labels), *(_ranges(list(points), r) for r in reached)])
    return _markdown([*_CURVE_COLUMNS, *_needed()], lines)


def _ranges(tried: Sequence[int], reached: Sequence[int]) -> str:
    """Returns which of the numbers tried are reached, such as "1, 10–20" or "1, 30+"."""
    texts = []
    for is_reached, group in itertools.groupby(tried, reached.__contains__):
        run = list(group)
        if is_reached and run[-1] == tried[-1]:
            texts.append(f"{run[0]}+")
        elif is_reached:
            texts.append(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]))
    return ", ".join(texts) or _MISSING


def _best_within(rows: Sequence[Row]) -> str:
    labels, lines = _grid_labels(rows), []
    tried = [row for row in rows if not row["is_reference"]]
    for weights, setting in itertools.product(findings.references(rows), pairs.SETTINGS):
        here = [r for r in tried if (r["weights"], r["setting"]) == (weights, setting)]
        for calls in sorted({row["network_calls"] for row in here}):
            within = [row for row in here if row["network_calls"] <= calls]
            cells = []
            for metric in (*METRICS, findings.DISTANCE):
                best = findings.best(within, metric)
                cells.append(_score(best or {}, metric))
                if best:
                    curve = findings.curve_of(best)
                    cells[-1] += ", " + _name(curve, best["network_calls"], labels)
            lines.append([weights, setting, str(calls), *cells])
    columns = [*map(_label, METRICS), _DISTANCE]
    return _markdown(["weights", "setting", "calls", *columns], lines)


def _all_scores(rows: Sequence[Row]) -> str:
    labels, lines = _grid_labels(rows), []
    for curve, points in findings.curves(rows).items():
        for calls, by_setting in points.items():
            cells = [
                _score(by_setting.get(setting, {}), metric)
                for setting in pairs.SETTINGS
                for metric in (*METRICS, findings.DISTANCE)
            ]
            seconds = [row["seconds_per_picture"] for row in by_setting.values()]
            mean = f"{sum(seconds) / len(seconds):.3f}"
            lines.append([*_curve_cells(curve, labels), str(calls), *cells, mean])
    columns = [f"{n} {s}" for s in pairs.SETTINGS for n in (*map(_label, METRICS), _DISTANCE)]
    return _markdown([*_CURVE_COLUMNS, "calls", *columns, "seconds a picture"], lines)


def _curves(rows: Iterable[Row]) -> dict[findings.Curve, findings.Points]:
    """Returns all but the reference, which the others are measured against."""
    return findings.curves(row for row in rows if not row["is_reference"])


def _grid_labels(rows: Iterable[Row]) -> dict[str, str]:
    return {row["grid"]: row["grid_label"] for row in rows}


def _name(curve: findings.Curve, calls: int, labels: dict[str, str]) -> str:
    walk = f"{curve.sampler} on {labels[curve.grid]}" if calls > 1 else "the posterior mean"
    return f"{walk} from σ {curve.sigma_max:g}"


def _curve_cells(curve: findings.Curve, labels: dict[str, str]) -> list[str]:
    return [curve.weights, curve.sampler, labels[curve.grid], f"{curve.sigma_max:g}"]


def _label(metric: str) -> str:
    return scores.METRICS[metric].label


def _score(row: Row, metric: str) -> str:
    value = row.get(metric)
    decimals = 1 if metric == findings.DISTANCE else scores.METRICS[metric].decimals
    return _MISSING if value is None else f"{value:.{decimals}f}"


def _markdown(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    all_lines = (columns, ["---"] * len(columns), *lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in all_lines)
