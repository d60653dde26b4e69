"""The tables: scores in each setting, beside the published ones, and what they took."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ssimbad_jax.data import pairs
from ssimbad_jax.stages import scores
from ssimbad_jax.stages.reporting import numbers, score_tables
from ssimbad_jax.stages.tabulating import rows as rows_lib
from ssimbad_jax.stages.tabulating.results import Result, Results
from ssimbad_jax.training import progress

# Metrics of the paper with the decimals it gives.
_PAPER_METRICS = {"psnr": 2, "ms_ssim": 4, "fid": 2}


class Cell(NamedTuple):
    """A cell.

    Attributes:
        text: what it says.
        is_number: to be set right.
        is_best: of the models in its column.
    """

    text: str
    is_number: bool = True
    is_best: bool = False


class Table(NamedTuple):
    """A table.

    Attributes:
        title: above it.
        note: below the title; may be empty.
        columns: their headers.
        rows: cells, as many as columns.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def all_tables(found: Results) -> list[Table]:
    """Returns the tables that have rows."""
    made = [_paper(found), *(_scores(found, setting) for setting in pairs.SETTINGS), _costs(found)]
    return [table for table in made if table.rows]


def _scores(found: Results, setting: str) -> Table:
    """Returns every result in one setting."""
    shown = [m for m in found.metrics if any(f"{m}_{setting}" in r.scores for r in found.results)]
    best = {metric: _best(found, metric, setting) for metric in shown}
    rows = []
    for result in found.results:
        cells = (_score(found, result, metric, setting, best[metric]) for metric in shown)
        method = result.method if result.row else ""
        costs = (Cell(str(result.network_calls)), Cell(numbers.seconds(result.seconds)))
        rows.append((Cell(result.label, False), Cell(method, False), *costs, *cells))
    errors = ", ".join(_typical_errors(found, shown, setting))
    note = "± is the standard deviation over trainings with several seeds; bold the best model."
    if errors:
        note += f" Typical standard errors over the pictures: {errors}."
    headers = (_header(found.metrics[metric]) for metric in shown)
    title = score_tables.SETTINGS.get(setting, setting)
    columns = ("method", "sampler", "calls", "s a picture", *headers)
    return Table(title, note, columns, tuple(rows))


def _paper(found: Results) -> Table:
    """Returns the paper's rows, here and published."""
    shown = {metric: _shown_for(found, metric) for metric in _PAPER_METRICS}
    rows = []
    for (name, scoring), published in rows_lib.PUBLISHED.items():
        result = found.of_scoring(name, scoring)
        if result is None:
            continue
        cells = [Cell(result.label, False), Cell(result.method, False)]
        for metric, decimals in _PAPER_METRICS.items():
            here = (_mean(found, result, shown[metric], setting) for setting in pairs.SETTINGS)
            there = (numbers.rounded(value, decimals) for value in published[metric])
            cells += [Cell(" / ".join(here)), Cell(" / ".join(there))]
        rows.append(tuple(cells))
    columns = [
        text
        for metric, here in shown.items()
        for text in (
            f"{found.metrics.get(here, {}).get('label', here)} here",
            f"{scores.METRICS[metric].label} published",
        )
    ]
    note = (
        "Same / cross reference. The published rows are at 256 px, after 300 epochs of 31,696 "
        "faces, and on other pictures: their order can be compared with that here, their values "
        "cannot."
    )
    return Table("The paper's rows", note, ("method", "sampler", *columns), tuple(rows))


def _shown_for(found: Results, metric: str) -> str:
    """Returns the metric, or the Frechet distance that needs no further file in place of FID."""
    is_there = any(f"{metric}_{s}" in r.scores for s in pairs.SETTINGS for r in found.results)
    return metric if is_there or metric != "fid" else "frechet_vgg16"


def _costs(found: Results) -> Table:
    rows = tuple(
        (
            Cell(cost.row.label + ("" if cost.is_finished else " (under way)"), False),
            Cell(str(cost.seeds)),
            Cell(f"{cost.samples:,.0f}"),
            Cell(progress.format_duration(cost.seconds)),
            Cell(", ".join(cost.devices), False),
        )
        for cost in found.costs
    )
    note = (
        "Means over seeds. Refinement is counted with the pretraining it starts from. Times hold "
        "for the devices named, and for what else they had to do; a refinement may be on others "
        "than its pretraining."
    )
    columns = ("method", "seeds", "training samples", "training time", "last on")
    return Table("What it took", note, columns, rows)


def _score(found: Results, result: Result, metric: str, setting: str, best: float | None) -> Cell:
    score = result.scores.get(f"{metric}_{setting}")
    if score is None:
        return Cell(numbers.MISSING)
    decimals = _decimals(found, metric)
    text = numbers.rounded(score.mean, decimals)
    if score.spread is not None:
        text += f" ±{numbers.error(score.spread, decimals)}"
    return Cell(text, is_best=result.row is not None and score.mean == best)


def _mean(found: Results, result: Result, metric: str, setting: str) -> str:
    score = result.scores.get(f"{metric}_{setting}")
    if score is None:
        return numbers.MISSING
    return numbers.rounded(score.mean, _decimals(found, metric))


def _best(found: Results, metric: str, setting: str) -> float | None:
    """Returns the best score that a network has."""
    key, is_higher_better = f"{metric}_{setting}", found.metrics[metric].get("higher_is_better")
    values = [r.scores[key].mean for r in found.results if r.row and key in r.scores]
    if is_higher_better is None:
        return None
    return (max if is_higher_better else min)(values, default=None)


def _typical_errors(found: Results, metrics: Sequence[str], setting: str) -> Iterator[str]:
    for metric in metrics:
        found_scores = [r.scores.get(f"{metric}_{setting}") for r in found.results if r.row]
        errors = sorted(s.error for s in found_scores if s is not None and s.error is not None)
        if errors:
            typical = numbers.error(errors[len(errors) // 2], _decimals(found, metric))
            yield f"{found.metrics[metric].get('label', metric)} {typical}"


def _decimals(found: Results, metric: str) -> int:
    places = found.metrics.get(metric, {}).get("decimals", 3)
    return places if isinstance(places, int) else 3


def _header(metric: dict[str, Any]) -> str:
    better = metric.get("higher_is_better")
    arrow = "" if better is None else " ↑" if better else " ↓"
    unit = f" ({metric['unit']})" if metric.get("unit") else ""
    return f"{metric.get('label', '?')}{unit}{arrow}"
