"""The parts of a study: what is planned, kept, found, written and drawn."""

import csv
import itertools
import json
import math

import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.diffusion import schedule
from ssimbad_jax.stages import calibrate, components, solvers
from ssimbad_jax.stages.studying import figure, findings, plan, rows, table
from tests import tiny_run

REFERENCE = {"psnr": 15.0, "ssim": 0.6, "lpips_alex": 0.3, "rmse_to_reference": 0.0}


def _row(calls, setting="same", sampler="euler", is_reference=False, **changed):
    identity = {
        "weights": "pretrain",
        "sampler": sampler,
        "grid": "rational",
        "sigma_max": 80.0,
        "steps": calls,
        "setting": setting,
        "network_calls": calls,
        "is_reference": is_reference,
        "grid_label": "c = 0.3",
        "checkpoint_step": 24,
        "pictures": 11,
        "seconds_per_picture": 0.01 * calls,
    }
    return identity | REFERENCE | changed


def _rows():
    """Two curves that reach the reference, one of them not at every number of calls."""
    reference = [_row(99, setting, "heun", True) for setting in ("same", "cross")]
    made = []
    for setting in ("same", "cross"):
        for calls, psnr, distance in ((1, 15.5, 30.0), (2, 12.0, 40.0), (5, 14.95, 1.9)):
            made.append(_row(calls, setting, psnr=psnr, rmse_to_reference=distance))
        for calls, psnr in ((1, 15.5), (2, 16.0), (5, 14.0)):
            made.append(_row(calls, setting, "ddim", psnr=psnr, rmse_to_reference=None))
    return reference + made


@pytest.fixture
def config(prepared_dir):
    return tiny_run.make_config(prepared_dir)


def _settings(**changed):
    return plan.Settings(**{"samplers": ("euler", "heun"), "calls": (2, 5, 60)} | changed)


def test_each_sampler_takes_the_most_steps_that_the_calls_allow(config):
    for name, solver in solvers.SOLVERS.items():
        for calls in (1, 2, 7, 50):
            steps = plan.steps_within(name, calls)
            assert solver.network_calls(steps) <= calls < solver.network_calls(steps + 1)
    assert plan.steps_within("heun", 50) == 25


def test_the_reference_is_first_and_all_grids_are_walked(config):
    first, *others = plan.combinations(_settings(), config)
    assert first == plan.Combination("heun", "rational", 80.0, 50)
    assert first.network_calls == 99
    assert len(set(others)) == len(others) and first not in others
    found = {c[:3] for c in others if c.steps == 5 and c.sampler == "euler"}
    assert found == {("euler", grid, sigma) for grid in plan.GRIDS for sigma in (80.0, 5.0)}
    # A grid of 50 steps has no 60 to walk.
    assert {c.grid for c in others if c.steps == 60} == set(plan.GRIDS) - {"sub_grid"}
    shapes = [(c.sampler, c.steps) for c in others]
    assert len(list(itertools.groupby(shapes))) == len(set(shapes)), "one compilation for each"


def test_grids_are_those_of_the_run_of_its_calibration_and_of_edm(finished_run):
    config, workdir = finished_run
    grids = plan.open_grids(config, workdir, plan.GRIDS)
    own = components.noise_schedule(config, workdir).sigma_grid
    np.testing.assert_array_equal(grids["rational"].sigma_grid(80.0, 7), own(7))
    np.testing.assert_array_equal(grids["sub_grid"].sigma_grid(80.0, 5), own(50)[::10])
    np.testing.assert_array_equal(
        grids["edm"].sigma_grid(5.0, 7), schedule.edm(0.002, 5).sigma_grid(7)
    )
    record = json.loads((workdir / calibrate.RESULT).read_text())
    c = record["best"]["c"]
    assert f"{c:.4g}" in grids["best"].label
    middle = grids["best"].sigma_grid(80.0, 3)[1]
    ends = np.array([0.002, 80.0])
    assert middle / (middle + c) == pytest.approx(np.mean(ends / (ends + c)))
    u = np.interp(
        np.log(grids["table"].sigma_grid(80.0, 5)[:-1]),
        np.log(record["table"]["sigma"]),
        record["table"]["u"],
    )
    np.testing.assert_allclose(np.diff(u), np.diff(u).mean(), rtol=0.05)
    for grid in grids.values():
        for sigma_max in (80.0, 5.0):
            walked = grid.sigma_grid(sigma_max, 6)
            assert walked.shape == (7,) and (np.diff(walked) < 0).all()
            assert walked[0] == pytest.approx(sigma_max) and walked[-1] == 0


@pytest.mark.parametrize("scale", ["best", "table"])
def test_the_runs_own_grid_is_the_one_it_was_trained_with(finished_run, scale):
    config, workdir = finished_run
    record = json.loads((workdir / calibrate.RESULT).read_text())
    own = plan.open_grids(config, workdir, [scale])[scale].sigma_grid(80.0, 9)
    chosen = calibrate._scale_from_record(record[scale])
    np.testing.assert_allclose(own, schedule.ssimbad(chosen, 0.002, 80.0).sigma_grid(9))
    config = config.copy_and_resolve_references()
    config.calibrate.scale = scale
    assert plan.reference(config).grid == scale
    config.diffusion.schedule = "edm"
    assert plan.reference(config).grid == "edm"


def test_a_run_without_calibration_has_the_other_grids(config, tmp_path):
    assert plan.open_grids(config, tmp_path, ["edm", "sub_grid"]).keys() == {
        "rational",
        "edm",
        "sub_grid",
    }
    with pytest.raises(FileNotFoundError, match=r"or leave its grids out: --grids=rational,edm"):
        plan.open_grids(config, tmp_path, plan.GRIDS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samplers": ["guess"]}, "--samplers names 'guess'; choose out of "),
        ({"samplers": []}, "--samplers names ''"),
        ({"grids": ["fine"]}, "--grids names 'fine'; choose out of rational,"),
        ({"sigma_max": [100.0]}, "--sigma_max has 100; the network was trained .* up to 80"),
        ({"sigma_max": [0.001]}, "--sigma_max has 0.001"),
        ({"sigma_max": [math.nan]}, "--sigma_max has nan"),
        ({"calls": [5, 0]}, "--calls is '5,0'; name numbers of network calls from 1"),
        ({"calls": []}, "--calls is ''"),
        ({"images": 0}, "--images is 0; set it to 1 or more"),
        ({"batch_size": 0}, "--batch_size is 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(config, changed, message):
    plan.check(_settings(), config)
    with pytest.raises(ValueError, match=message):
        plan.check(_settings(**changed), config)


def test_rows_come_back_and_are_kept_once(tmp_path):
    first = rows.Rows(tmp_path, {"seed": 0})
    first.append(_row(1, grid_label="σ"))
    first.append(_row(1, psnr=3.0))
    first.append(_row(1, "cross", psnr=None))
    with (tmp_path / rows.ROWS).open("a") as file:
        file.write('{"weights": "pre')  # killed while writing
    again = rows.Rows(tmp_path, {"seed": 0, "options of ddim": "{}"})
    assert again.all == first.all == [_row(1, grid_label="σ"), _row(1, "cross", psnr=None)]
    assert _row(1) in again and _row(2) not in again
    assert (tmp_path / rows.ROWS).read_text().endswith("}\n")
    rows.write_csv(tmp_path, again.all)
    with (tmp_path / rows.CSV).open(newline="") as file:
        assert [(r["setting"], r["psnr"]) for r in csv.DictReader(file)] == [
            ("same", "15.0"),
            ("cross", ""),
        ]
    with pytest.raises(ValueError, match="another study: options of ddim was"):
        rows.Rows(tmp_path, {"options of ddim": "x"})


@pytest.mark.parametrize("text", ["3\n", '{"weights": "pretrain"}\n'])
def test_files_of_something_else_are_refused(tmp_path, text):
    (tmp_path / rows.ROWS).write_text(text)
    with pytest.raises(ValueError, match=r"does not say what the rows .* belong to"):
        rows.Rows(tmp_path, {})
    (tmp_path / rows.BELONGS_TO).write_text("{}")
    with pytest.raises(ValueError, match="has rows that are none of a study; delete it"):
        rows.Rows(tmp_path, {})
    assert (tmp_path / rows.ROWS).read_text() == text


def test_pictures_come_back_and_damaged_ones_do_not(tmp_path):
    kept = rows.Rows(tmp_path, {})
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), np.uint8)
    assert kept.pictures("reference") is None
    kept.keep_pictures("reference", pixels)
    np.testing.assert_array_equal(kept.pictures("reference"), pixels)
    path = tmp_path / "reference.npy"
    path.write_bytes(path.read_bytes()[:-3])
    assert kept.pictures("reference") is None


@pytest.mark.parametrize(
    ("metric", "value", "reached"),
    [
        ("psnr", 14.91, True),
        ("psnr", 14.89, False),
        ("psnr", None, False),
        ("ssim", 0.5951, True),
        ("ssim", 0.5949, False),
        ("lpips_alex", 0.3049, True),
        ("lpips_alex", 0.3051, False),
        ("lpips_alex", 0.1, True),
        ("rmse_to_reference", 2.0, True),
        ("rmse_to_reference", 2.1, False),
        ("rmse_to_reference", None, False),
    ],
)
def test_as_good_means_within_the_tolerance(metric, value, reached):
    assert findings.is_reached(metric, _row(1, **{metric: value}), _row(99)) == reached


def test_the_fewest_calls_count_and_all_that_is_needed_has_to_be_there():
    made = _rows()
    reference = findings.references(made)["pretrain"]
    curves = findings.curves(row for row in made if not row["is_reference"])
    euler, ddim = (points for curve, points in curves.items())
    both = [("psnr", "same"), ("psnr", "cross")]
    assert findings.reaching_calls(euler, reference, both) == [1, 5]
    assert findings.reaching_calls(ddim, reference, both) == [1, 2]
    assert findings.reaching_calls(euler, reference, [("rmse_to_reference", "same")]) == [5]
    assert findings.reaching_calls(ddim, reference, [("rmse_to_reference", "same")]) == []
    only_same = {calls: {"same": settings["same"]} for calls, settings in euler.items()}
    assert findings.reaching_calls(only_same, reference, both) == []
    assert findings.best(made, "psnr")["psnr"] == 16.0
    assert findings.best(made, "rmse_to_reference")["is_reference"]
    assert findings.best(made[2:3], "lpips_alex") is made[2]
    assert findings.best([_row(1, psnr=None)], "psnr") is None


@pytest.mark.parametrize(
    ("reached", "text"),
    [
        ([], "–"),
        ([1], "1"),
        ([1, 2, 5], "1–5"),
        ([1, 5, 10], "1, 5+"),
        ([2, 10], "2, 10+"),
        ([1, 2, 5, 10], "1+"),
    ],
)
def test_numbers_of_calls_are_told_as_ranges(reached, text):
    assert table._ranges([1, 2, 5, 10], reached) == text


def test_the_page_has_the_answer_and_every_score(tmp_path):
    made = _rows()
    table.write(tmp_path, made)
    text = (tmp_path / table.PAGE).read_text(encoding="utf-8")
    assert "Heun-50 on c = 0.3, 99 network calls, has PSNR 15.00, SSIM 0.600" in text
    assert "of Heun-50 with 1 network call, by the posterior mean from σ 80." in text
    assert "are those of Heun-50 with 5 network calls, by euler on c = 0.3 from σ 80." in text
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    (euler,) = [line for line in lines if line[1] == "euler" and line[4] == "1, 5+"]
    assert euler == [
        "pretrain",
        "euler",
        "c = 0.3",
        "80",
        "1, 5+",
        "1+",
        "1+",
        "1, 5+",
        "1+",
        "1+",
        "1, 5+",
        "5+",
        "5+",
    ]
    (best,) = [line for line in lines if line[:3] == ["pretrain", "same", "2"]]
    assert best[3] == "16.00, ddim on c = 0.3 from σ 80"
    scored = [line for line in lines if len(line) == 14 and line[0] == "pretrain"]
    assert [(line[1], line[4], line[5], line[8]) for line in scored] == [
        ("heun", "99", "15.00", "0.0"),
        ("euler", "1", "15.50", "30.0"),
        ("euler", "2", "12.00", "40.0"),
        ("euler", "5", "14.95", "1.9"),
        ("ddim", "1", "15.50", "–"),
        ("ddim", "2", "16.00", "–"),
        ("ddim", "5", "14.00", "–"),
    ]


def test_an_unfinished_study_has_a_page_and_a_figure_as_far_as_it_goes(tmp_path):
    made = _rows()
    for count in (0, 1, 2, 3):
        table.write(tmp_path, made[:count])
        text = (tmp_path / table.PAGE).read_text(encoding="utf-8")
        assert ("is not sampled yet" in text) == (count == 0)
        figure.draw(tmp_path, made[:count])
        assert (tmp_path / figure.FIGURE).exists() == (count > 2)


def test_the_figure_shows_weights_below_each_other(tmp_path):
    made = _rows()
    figure.draw(tmp_path, made + [row | {"weights": "refine"} for row in made])
    with PIL.Image.open(tmp_path / figure.FIGURE) as picture:
        assert picture.height > picture.width > 1000
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    for half in np.array_split(pixels, 2):
        for colour in ((59, 111, 182), (181, 71, 60)):
            assert np.sum(np.abs(half - colour).max(axis=-1) < 5) > 200
