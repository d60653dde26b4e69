"""Tables of scores: which rows, which digits, which are the best."""

import copy
import json

import numpy as np
import pytest

from ssimbad_jax.stages.reporting import run_files, score_tables
from tests import written_run


def _run(workdir, *summaries, name="run"):
    """A run with the given scores, in eval, eval_1 and so on."""
    if not workdir.exists():
        written_run.write(workdir)
    for number, summary in enumerate(summaries):
        folder = workdir / (f"eval_{number}" if number else "eval")
        written_run.write_scores(folder, summary)
    return run_files.read(workdir, name)


def _summary(values, higher_is_better=True, calls=None):
    """Scores of one metric, `m`, by method; the last is a baseline unless calls say otherwise."""
    calls = calls or [1] * (len(values) - 1) + [0]
    rows = [
        {"method": method, "network_calls": call, "m_same": value, "m_cross": value}
        for call, (method, value) in zip(calls, values.items(), strict=True)
    ]
    metrics = {"m": {"label": "M", "higher_is_better": higher_is_better}}
    return {
        "checkpoint_step": 5,
        "pairs": "a.npz",
        "num_images": 2,
        "metrics": metrics,
        "rows": rows,
    }


def _marks(table):
    return {(row.run, row.method): row.cells[0].mark for row in table.rows}


def test_every_number_is_shown_with_its_error(tmp_path):
    summary = written_run.scores(np.random.default_rng(3))
    same, cross = score_tables.tables([_run(tmp_path / "run", summary)])
    assert same.pictures == "200 pairs at 32 px: pairs32.npz"
    for table, setting in ((same, "same"), (cross, "cross")):
        assert [column.label for column in table.columns] == ["PSNR", "LPIPS"]
        for row, numbers in zip(table.rows, summary["rows"], strict=True):
            psnr, lpips = row.cells
            assert row.method == numbers["method"]
            assert psnr.value == f"{numbers[f'psnr_{setting}']:.2f}"
            assert psnr.details == ("± 0.12",)
            assert lpips.value == f"{numbers[f'lpips_{setting}']:.2f}"
            assert lpips.details == ("0.10 to 0.70",)
    assert [(row.network_calls, row.seconds) for row in same.rows] == [
        ("99", "0.495"),
        ("10", "0.050"),
        ("0", "–"),
    ]


def test_digits_are_those_that_the_file_asks_for(tmp_path):
    summary = _summary({"a": 1.23456, "copy": 2.0})
    for decimals, value in ((3, "1.235"), (0, "1"), (-1, "1.23"), ("x", "1.23"), (None, "1.23")):
        summary["metrics"]["m"]["decimals"] = decimals
        table, _ = score_tables.tables([_run(tmp_path / "run", summary)])
        assert table.rows[0].cells[0].value == value


def test_the_format_without_names_of_metrics_is_read(finished_run):
    run = run_files.read(finished_run.workdir, "run")
    summary = json.loads((finished_run.workdir / "eval" / "metrics.json").read_text())
    table = score_tables.tables([run])[0]
    labels = {column.name: column.label for column in table.columns}
    assert labels["psnr"] == "PSNR" and labels["ssim"] == "SSIM"
    assert [row.method for row in table.rows][:2] == [r["method"] for r in summary["rows"]][:2]
    unnamed = {k: v for k, v in written_run.scores(np.random.default_rng(0)).items()}
    del unnamed["metrics"], unnamed["settings"]
    (column, other), *_ = [
        t.columns
        for t in score_tables.tables(
            [
                run._replace(
                    scores=(run_files.Scores("eval", finished_run.workdir / "eval", unnamed),)
                )
            ]
        )
    ]
    assert column.higher_is_better and column.unit == "dB"
    assert (other.label, other.higher_is_better) == ("lpips", None)


@pytest.mark.parametrize(
    ("higher", "best", "copying"), [(True, "b", ""), (False, "a", ""), (None, None, "")]
)
def test_the_best_of_the_models_is_marked(tmp_path, higher, best, copying):
    summary = _summary({"a": 1.0, "b": 3.0, "copy": 2.0}, higher)
    (table, _) = score_tables.tables([_run(tmp_path / "run", summary)])
    marks = _marks(table)
    assert [method for (_, method), mark in marks.items() if mark == "best"] == (
        [best] if best else []
    )
    assert marks["", "copy"] == copying


def test_a_baseline_that_no_model_beats_is_marked_otherwise(tmp_path):
    summary = _summary({"a": 1.0, "b": 3.0, "copy": 4.0})
    (table, _) = score_tables.tables([_run(tmp_path / "run", summary)])
    assert list(_marks(table).values()) == ["", "best", "unbeaten"]


def test_the_best_is_sought_among_all_runs(tmp_path):
    runs = [
        _run(tmp_path / name, _summary({"a": value, "copy": 2.0}), name=name)
        for name, value in (("x", 3.0), ("y", 5.0), ("z", 4.0))
    ]
    table, _ = score_tables.tables(runs)
    assert _marks(table) == {
        ("x", "a"): "",
        ("y", "a"): "best",
        ("z", "a"): "",
        ("", "copy"): "",  # once, since all runs share it
    }


def test_scores_on_other_pictures_are_in_other_tables(tmp_path):
    first, second = _summary({"a": 1.0, "c": 0.0}), _summary({"a": 9.0, "c": 0.0})
    second["num_images"] = 3
    found = score_tables.tables([_run(tmp_path / "run", first, second)])
    assert [table.pictures.split()[0] for table in found] == ["2", "2", "3", "3"]
    assert all(_marks(table)["run", "a"] == "best" for table in found)


def test_what_was_scored_twice_is_shown_once(tmp_path):
    first = _summary({"a": 1.0, "mean": 2.0, "copy": 0.0})
    second = copy.deepcopy(first)
    second["rows"][0] |= {"method": "b", "m_same": 3.0}
    table, _ = score_tables.tables([_run(tmp_path / "run", first, second)])
    assert [row.method for row in table.rows] == ["a", "mean", "b", "copy"]
    assert [row.source for row in table.rows][:3] == ["eval, step 5"] * 2 + ["eval_1, step 5"]


def test_a_later_scoring_with_more_metrics_replaces_the_first(tmp_path):
    first = _summary({"a": 1.0, "copy": 0.0})
    second = copy.deepcopy(first)
    second["metrics"]["n"] = {"label": "N", "higher_is_better": False}
    for row in second["rows"]:
        row |= {"n_same": 0.5, "n_cross": None}
    same, cross = score_tables.tables([_run(tmp_path / "run", first, second)])
    assert [row.source for row in same.rows] == ["eval_1, step 5"] * 2
    assert [cell.value for cell in cross.rows[0].cells] == ["1.00", "–"]


def test_zero_is_a_score(tmp_path):
    summaries = [_summary({"a": value, "copy": 9.0}) for value in (0.0, 1.0)]
    same, _ = score_tables.tables([_run(tmp_path / "run", *summaries)])
    assert [row.cells[0].value for row in same.rows] == ["0.00", "1.00", "9.00"]


def test_missing_and_odd_values_are_shown_as_such(tmp_path):
    values = {"a": None, "b": float("nan"), "c": "<b>", "d": float("inf"), "copy": 0.5}
    table, _ = score_tables.tables([_run(tmp_path / "run", _summary(values))])
    assert [row.cells[0].value for row in table.rows] == ["–", "–", "–", "∞", "0.500"]


def test_notes_are_given_once(tmp_path):
    summary = written_run.scores(np.random.default_rng(3))
    run = _run(
        tmp_path / "run",
        summary,
        summary | {"notes": ["Two seeds were scored.", "More.", "AlexNet's."]},
    )
    assert score_tables.notes([run]) == ["LPIPS: AlexNet's.", "Two seeds were scored.", "More."]
