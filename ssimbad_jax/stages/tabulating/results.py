"""What the runs of a table found, read from their folders: scores by row and method, and costs."""

import math
import pathlib
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ssimbad_jax.stages import run_record
from ssimbad_jax.stages.reporting import numbers, run_files
from ssimbad_jax.stages.tabulating import plan
from ssimbad_jax.stages.tabulating import rows as rows_lib

POSTERIOR_MEAN = "posterior mean"


class Score(NamedTuple):
    """A metric of a method, over the seeds of training that have it.

    Attributes:
        mean: over seeds.
        spread: standard deviation over seeds; None with one seed.
        error: standard error over pictures, mean over seeds; None where it is not known.
    """

    mean: float
    spread: float | None
    error: float | None


class Result(NamedTuple):
    """How a row did with one way of sampling.

    Attributes:
        row: which; None for answers that need no network.
        scoring: out of `rows.SCORINGS`.
        method: its name, such as "euler-10".
        network_calls: for each picture.
        seconds: for each picture, mean over seeds.
        seeds: how many runs have been scored.
        scores: by metric and setting, such as "psnr_same".
    """

    row: rows_lib.Row | None
    scoring: str
    method: str
    network_calls: int
    seconds: float | None
    seeds: int
    scores: dict[str, Score]

    @property
    def label(self) -> str:
        """The row's name in tables, or the method's where there is no network."""
        return self.row.label if self.row else self.method


class Cost(NamedTuple):
    """What the runs of a row took, mean over seeds, with what they started from.

    Attributes:
        row: which.
        seeds: runs there are.
        samples: pictures trained on.
        seconds: of training and refinement.
        devices: that the last stage ran on, in words, each kind once.
        is_finished: whether none of them is under way.
    """

    row: rows_lib.Row
    seeds: int
    samples: float
    seconds: float
    devices: tuple[str, ...]
    is_finished: bool


class Results(NamedTuple):
    """All that was found.

    Attributes:
        runs: with their files, in the order of the rows.
        results: in the order of the rows, answers without a network last.
        costs: one a row that has runs.
        metrics: what metrics.json says about each.
        pictures: which and how many were scored; more than one line where runs differ in it.
    """

    runs: tuple[tuple[plan.Run, run_files.RunFiles], ...]
    results: tuple[Result, ...]
    costs: tuple[Cost, ...]
    metrics: dict[str, dict[str, Any]]
    pictures: tuple[str, ...]

    def of_row(self, name: str) -> list[Result]:
        """Returns the results of a row."""
        return [r for r in self.results if r.row is not None and r.row.name == name]

    def find(self, row: str, method: str) -> Result | None:
        """Returns the result of a row's name and a method."""
        return next((r for r in self.of_row(row) if r.method == method), None)

    def of_scoring(self, row: str, scoring: str) -> Result | None:
        """Returns what a row's sampler has in one of `rows.SCORINGS`."""
        for result in self.of_row(row):
            if result.scoring == scoring and not is_posterior_mean(result.method):
                return result
        return None


def is_posterior_mean(method: str) -> bool:
    """Tells the posterior mean, of any number of answers, from samplers."""
    return method.startswith(POSTERIOR_MEAN)


def read(out: pathlib.Path) -> Results:
    """Returns what all runs below a folder have so far."""
    runs = tuple(_runs(out))
    summaries = [summary for run, files in runs for summary in _summaries(run, files).values()]
    return Results(
        runs,
        (*_results(runs), *_simple_answers(summaries)),
        tuple(_costs(runs)),
        _metrics(summaries),
        tuple(dict.fromkeys(_pictures(summary) for summary in summaries)),
    )


def _runs(out: pathlib.Path) -> Iterator[tuple[plan.Run, run_files.RunFiles]]:
    for row in rows_lib.ROWS.values():
        prefix = f"{row.name}_seed"
        seeds = [
            int(path.name.removeprefix(prefix))
            for path in (out / plan.RUNS).glob(f"{prefix}*")
            if path.name.removeprefix(prefix).isdecimal()
        ]
        for seed in sorted(seeds):
            run = plan.Run(row, seed)
            try:
                yield run, run_files.read(plan.workdir(out, run), run.name)
            except ValueError:
                continue  # it has not begun


def _summaries(run: plan.Run, files: run_files.RunFiles) -> dict[str, dict[str, Any]]:
    """Returns what metrics.json says, by the row's scorings."""
    folders = {score.name: score.summary for score in files.scores}
    return {
        scoring: folders[plan.folder(scoring)]
        for scoring in run.row.scorings
        if plan.folder(scoring) in folders
    }


def _results(runs: Sequence[tuple[plan.Run, run_files.RunFiles]]) -> list[Result]:
    """Returns what each row's network did, many calls first."""
    by_method: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = {}
    for run, files in runs:
        seen = set()
        for scoring, summary in _summaries(run, files).items():
            for scored in summary["rows"]:
                method = scored["method"]
                is_shown = run.row.has_posterior_mean or not is_posterior_mean(method)
                # Every way of sampling is scored beside the same posterior mean.
                if scored.get("network_calls") and is_shown and method not in seen:
                    seen.add(method)
                    by_method.setdefault((run.row.name, method), []).append((scoring, scored))
    made = [
        _result(rows_lib.ROWS[row], entries[0][0], method, [scored for _, scored in entries])
        for (row, method), entries in by_method.items()
    ]
    order = [row.label for row in rows_lib.ROWS.values()]
    return sorted(made, key=lambda result: (order.index(result.label), -result.network_calls))


def _simple_answers(summaries: Sequence[dict[str, Any]]) -> Iterator[Result]:
    """Yields the answers that need no network, which are the same beside every run."""
    for scored in summaries[0]["rows"] if summaries else []:
        if scored.get("network_calls") == 0:
            yield _result(None, "", scored["method"], [scored])


def _result(
    row: rows_lib.Row | None, scoring: str, method: str, scored: Sequence[dict[str, Any]]
) -> Result:
    seconds = [s for one in scored if (s := numbers.real(one.get("seconds_per_image")))]
    scores = {key: _score(scored, key) for one in scored for key in one}
    return Result(
        row,
        scoring,
        method,
        int(scored[0].get("network_calls", 0)),
        statistics.fmean(seconds) if seconds else None,
        len(scored),
        {key: score for key, score in scores.items() if score is not None},
    )


def _score(scored: Sequence[dict[str, Any]], key: str) -> Score | None:
    values = _finite(one.get(key) for one in scored)
    errors = _finite(one.get(f"{key}_standard_error") for one in scored)
    if not values:
        return None
    return Score(
        statistics.fmean(values),
        statistics.stdev(values) if len(values) > 1 else None,
        statistics.fmean(errors) if errors else None,
    )


def _finite(values: Iterator[Any]) -> list[float]:
    return [v for value in values if (v := numbers.real(value)) is not None and math.isfinite(v)]


def _costs(runs: Sequence[tuple[plan.Run, run_files.RunFiles]]) -> Iterator[Cost]:
    by_run = {run.name: files for run, files in runs}
    for row in rows_lib.ROWS.values():
        of_row = [run for run, _ in runs if run.row.name == row.name]
        spent = [_spent(run, by_run) for run in of_row]
        if spent:
            yield Cost(
                row,
                len(spent),
                statistics.fmean(samples for samples, _, _ in spent),
                statistics.fmean(seconds for _, seconds, _ in spent),
                tuple(dict.fromkeys(_devices(run, by_run[run.name]) for run in of_row)),
                all(is_finished for _, _, is_finished in spent),
            )


def _spent(run: plan.Run, by_run: dict[str, run_files.RunFiles]) -> tuple[float, float, bool]:
    """Returns samples and seconds of training, and whether it is finished."""
    stage, before = ("refine", run.start) if run.start else ("train", None)
    files = by_run[run.name]
    log = files.refinement_log if run.start else files.log
    steps = log[-1]["step"] if log else 0
    samples = steps * (numbers.real(files.config.get(f"{stage}.batch_size")) or 0)
    record = files.record.get("stages", {}).get(stage, {})
    seconds, is_finished = record.get("seconds", 0.0), bool(record.get("finished"))
    if before is not None and before.name in by_run:
        more_samples, more_seconds, was_finished = _spent(before, by_run)
        return samples + more_samples, seconds + more_seconds, is_finished and was_finished
    return samples, seconds, is_finished


def _devices(run: plan.Run, files: run_files.RunFiles) -> str:
    """Returns what the run was trained, or refined, on."""
    stage = files.record.get("stages", {}).get("refine" if run.start else "train", {})
    return run_record.name_of(stage.get("devices")) or "?"


def _metrics(summaries: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the metrics in the table's order, further ones behind."""
    found: dict[str, dict[str, Any]] = {}
    for summary in summaries:
        for name, about in summary.get("metrics", {}).items():
            found.setdefault(name, about)
    order = [*rows_lib.METRICS, *found]
    return {name: found[name] for name in dict.fromkeys(order) if name in found}


def _pictures(summary: dict[str, Any]) -> str:
    name = str(summary.get("pairs", "?")).replace("\\", "/").rpartition("/")[-1]
    return f"{summary.get('num_images', '?')} pairs at {summary.get('image_size', '?')} px: {name}"
