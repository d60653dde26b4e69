"""Which curves are drawn."""

import numpy as np
import pytest

from ssimbad_jax.stages.reporting import curves, run_files
from tests import written_run


@pytest.fixture
def run(tmp_path):
    return run_files.read(written_run.write(tmp_path / "run"), "run")


def test_one_run_has_quantities_of_a_kind_in_one_chart(run):
    drawn = {chart.title: chart for chart in curves.training([run])}
    assert list(drawn) == [
        "Loss",
        "Loss by noise level",
        "Norm of the gradient",
        "Learning rate",
        "Pictures a second",
    ]
    training, held_out = drawn["Loss"].lines
    np.testing.assert_array_equal(training.x, np.arange(50, 1501, 50))
    np.testing.assert_array_equal(training.y, [r["loss"] for r in run.log if "loss" in r])
    np.testing.assert_allclose(held_out.y * held_out.x, 10.0)
    assert [line.name for line in drawn["Loss by noise level"].lines] == [
        "σ below 0.05",
        "σ above 5",
    ]


def test_several_runs_are_drawn_over_each_other(run):
    other = run._replace(name="other", log=run.log[:4])
    drawn = curves.training([run, other])
    assert [chart.title for chart in drawn][:3] == [
        "Loss, training",
        "Loss, held out, averaged parameters",
        "Loss by noise level, σ below 0.05",
    ]
    assert [[line.name for line in chart.lines] for chart in drawn[:2]] == [
        ["run", "other"],
        ["run"],
    ]
    assert len({line.style for line in drawn[0].lines}) == 2
    assert "step</text>" in drawn[0].svg


def test_runs_of_other_batch_sizes_are_compared_by_pictures(run):
    other = run._replace(config=run.config | {"train.batch_size": 8})
    chart = curves.training([run, other])[0]
    assert [line.x[0] for line in chart.lines] == [50 * 32, 50 * 8]
    assert "pictures seen</text>" in chart.svg


def test_a_refinement_has_charts_of_its_own(run):
    assert curves.refinement([run]) == []
    rows = [{"step": step, "loss": 1.0 / step, "learning_rate": 2e-4} for step in (2, 4, 6)]
    refined = run._replace(refinement_log=rows)
    loss, rate = curves.refinement([refined])
    assert (loss.title, rate.title) == ("Loss", "Learning rate")
    np.testing.assert_array_equal(loss.lines[0].x, [2, 4, 6])
    other = refined._replace(name="other", config=run.config | {"refine.batch_size": 4})
    compared = curves.refinement([refined, other])[0]
    assert [line.x[0] for line in compared.lines] == [2 * run.config["refine.batch_size"], 2 * 4]


def test_without_a_log_there_are_no_curves(run):
    assert curves.training([run._replace(log=[])]) == []
    assert curves.calibration(run._replace(calibration=None)) is None


def test_the_chosen_axis_is_the_straight_one(run):
    *_, chosen = curves.calibration(run).lines
    np.testing.assert_allclose(chosen.y, chosen.fit, atol=0.01)
    assert chosen.name == "SSIMBaD, σ / (σ + 0.3), R² 1.000"
