"""Tables of scores: methods below each other, metrics beside each other, the best marked."""

import collections
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ssimbad_jax.data import pairs
from ssimbad_jax.stages.reporting import numbers, run_files

# Of files that do not say it themselves.
KNOWN_METRICS = {
    "psnr": {"label": "PSNR", "unit": "dB", "higher_is_better": True, "decimals": 2},
    "ssim": {"label": "SSIM", "unit": "", "higher_is_better": True, "decimals": 3},
}
_DETAILS = ("_standard_error", "_seed_spread", "_interval")
SETTINGS = {
    "same": "Same reference: a warp of the target",
    "cross": "Cross reference: a warp of somebody else's face",
}


class Column(NamedTuple):
    """A metric.

    Attributes:
        name: in the file.
        label: of the column.
        unit: may be empty.
        higher_is_better: None if not known.
        note: what to know about it; may be empty.
        decimals: to be shown; None: as many as the errors allow.
    """

    name: str
    label: str
    unit: str
    higher_is_better: bool | None
    note: str
    decimals: int | None


class Cell(NamedTuple):
    """A score as text.

    Attributes:
        value: rounded to what its error allows.
        details: error, spread over seeds and interval, where known.
        mark: "best" of the models, "unbeaten" baseline, or nothing.
    """

    value: str
    details: tuple[str, ...]
    mark: str


class Row(NamedTuple):
    """A method's scores.

    Attributes:
        run: its name.
        source: folder and step of the checkpoint.
        method: its name.
        is_baseline: it needs no network.
        network_calls: for each picture.
        seconds: for each picture.
        cells: one a column.
    """

    run: str
    source: str
    method: str
    is_baseline: bool
    network_calls: str
    seconds: str
    cells: tuple[Cell, ...]


class Table(NamedTuple):
    """The scores of a setting on one set of pairs.

    Attributes:
        setting: what the reference is.
        pictures: which and how many were scored.
        columns: of metrics.
        rows: models first.
    """

    setting: str
    pictures: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


class _Entry(NamedTuple):
    run: str
    source: str
    row: dict[str, Any]

    @property
    def is_baseline(self) -> bool:
        return self.row.get("network_calls") == 0


def tables(runs: Sequence[run_files.RunFiles]) -> list[Table]:
    """Returns a table for each set of pairs and setting; rows with equal scores appear once."""
    made = []
    for pictures, scores in _by_pictures(runs).items():
        columns = _columns(score.summary for _, score in scores)
        settings = dict.fromkeys(
            setting for _, score in scores for setting in _settings(score.summary)
        )
        keys = [f"{column.name}_{setting}" for column in columns for setting in settings]
        entries = _entries(scores, keys)
        made += [_table(pictures, setting, columns, entries) for setting in settings]
    return [table for table in made if table.columns]


def notes(runs: Sequence[run_files.RunFiles]) -> list[str]:
    """Returns what the files say about their scores and each metric, without repetitions."""
    summaries = [score.summary for run in runs for score in run.scores]
    of_metrics = [f"{column.label}: {column.note}" for column in _columns(summaries) if column.note]
    of_files = [str(note) for summary in summaries for note in numbers.items(summary.get("notes"))]
    others = [note for note in of_files if not any(note in about for about in of_metrics)]
    return list(dict.fromkeys([*of_metrics, *others]))


def _by_pictures(
    runs: Sequence[run_files.RunFiles],
) -> dict[str, list[tuple[str, run_files.Scores]]]:
    groups: dict[str, list[tuple[str, run_files.Scores]]] = {}
    for run in runs:
        for score in run.scores:
            groups.setdefault(_pictures(run, score.summary), []).append((run.name, score))
    return groups


def _pictures(run: run_files.RunFiles, summary: dict[str, Any]) -> str:
    size = summary.get("image_size", run.config.get("data.image_size", "?"))
    name = str(summary.get("pairs", "?")).replace("\\", "/").rpartition("/")[-1]
    return f"{summary.get('num_images', '?')} pairs at {size} px: {name}"


def _settings(summary: dict[str, Any]) -> list[str]:
    return [str(setting) for setting in numbers.items(summary.get("settings"))] or list(
        pairs.SETTINGS
    )


def _columns(summaries: Iterable[dict[str, Any]]) -> tuple[Column, ...]:
    found: dict[str, Column] = {}
    for summary in summaries:
        described = summary.get("metrics") or {
            name: KNOWN_METRICS.get(name, {}) for name in _metric_names(summary)
        }
        for name, about in described.items():
            about = about if isinstance(about, dict) else {}
            better, places = about.get("higher_is_better"), about.get("decimals")
            found.setdefault(
                name,
                Column(
                    name,
                    str(about.get("label") or name),
                    str(about.get("unit") or ""),
                    better if isinstance(better, bool) else None,
                    str(about.get("note") or ""),
                    places if isinstance(places, int) and 0 <= places <= 9 else None,
                ),
            )
    return tuple(found.values())


def _metric_names(summary: dict[str, Any]) -> dict[str, None]:
    """Returns the metrics that keys such as `psnr_same` name, in their order."""
    return {
        key.removesuffix(f"_{setting}"): None
        for row in summary["rows"]
        for key in row
        if not key.endswith(_DETAILS)
        for setting in _settings(summary)
        if key.endswith(f"_{setting}")
    }


def _entries(scores: Sequence[tuple[str, run_files.Scores]], keys: Sequence[str]) -> list[_Entry]:
    """Returns the rows, models first, without those whose scores another row has as well."""
    entries = []
    for run, score in scores:
        step = score.summary.get("checkpoint_step")
        for row in score.summary["rows"]:
            refined = "refined, " if score.summary.get("weights") == "refine" else ""
            entries.append(_Entry(run, f"{score.name}, {refined}step {step}", row))
    # What has no network is the same whichever run it stands beside.
    owners = [("" if e.is_baseline else e.run, e.row["method"]) for e in entries]
    values = [
        {
            (key, f"{value:.6g}")
            for key in keys
            for value in [numbers.real(entry.row.get(key))]
            if value is not None
        }
        for entry in entries
    ]
    kept = [
        entry
        for i, entry in enumerate(entries)
        if not any(
            owners[i] == owners[j] and (values[i] < values[j] or (values[i] == values[j] and j < i))
            for j in range(len(entries))
        )
    ]
    return sorted(kept, key=lambda entry: entry.is_baseline)


def _table(
    pictures: str, setting: str, columns: Sequence[Column], entries: Sequence[_Entry]
) -> Table:
    shown = [
        column
        for column in columns
        if any(f"{column.name}_{setting}" in entry.row for entry in entries)
    ]
    by_column = [list(_cells(column, setting, entries)) for column in shown]
    baselines = collections.Counter(entry.row["method"] for entry in entries)
    rows = [
        Row(
            # Baselines that all runs share belong to none of them.
            "" if entry.is_baseline and baselines[entry.row["method"]] == 1 else entry.run,
            entry.source,
            entry.row["method"],
            entry.is_baseline,
            numbers.count(entry.row.get("network_calls")),
            numbers.seconds(entry.row.get("seconds_per_image")),
            tuple(cells[number] for cells in by_column),
        )
        for number, entry in enumerate(entries)
    ]
    return Table(SETTINGS.get(setting, setting), pictures, tuple(shown), tuple(rows))


def _cells(column: Column, setting: str, entries: Sequence[_Entry]) -> Iterator[Cell]:
    key = f"{column.name}_{setting}"
    values = [numbers.real(entry.row.get(key)) for entry in entries]
    errors = [numbers.real(entry.row.get(f"{key}_standard_error")) or 0.0 for entry in entries]
    places = column.decimals
    if places is None:
        intervals = [numbers.interval(entry.row.get(f"{key}_interval")) for entry in entries]
        quarters = [(interval[1] - interval[0]) / 4 for interval in intervals if interval]
        known = [value for value in values if value is not None]
        places = numbers.decimals(known, [*errors, *quarters])
    marks = _marks(column, values, entries)
    for entry, value, error, mark in zip(entries, values, errors, marks, strict=True):
        if value is None:
            yield Cell(numbers.MISSING, (), "")
            continue
        details = [f"± {numbers.error(error, places)}"] if error else []
        spread = numbers.real(entry.row.get(f"{key}_seed_spread"))
        if spread:
            details.append(f"seeds ± {numbers.error(spread, places)}")
        interval = numbers.interval(entry.row.get(f"{key}_interval"))
        if interval:
            low, high = (numbers.rounded(end, places) for end in interval)
            details.append(f"{low} to {high}")
        yield Cell(numbers.rounded(value, places), tuple(details), mark)


def _marks(column: Column, values: Sequence[float | None], entries: Sequence[_Entry]) -> list[str]:
    """Returns "best" for the best model and "unbeaten" for baselines that no model is better than.

    Baselines are yardsticks: copying the reference is always nearest to it.
    """
    if column.higher_is_better is None:
        return [""] * len(values)
    sign = 1.0 if column.higher_is_better else -1.0
    of_models = [
        sign * value
        for value, entry in zip(values, entries, strict=True)
        if value is not None and not entry.is_baseline
    ]
    best = max(of_models, default=math.inf)
    marks = []
    for value, entry in zip(values, entries, strict=True):
        if value is None:
            marks.append("")
        elif entry.is_baseline:
            marks.append("unbeaten" if sign * value >= best else "")
        else:
            marks.append("best" if sign * value == best else "")
    return marks
