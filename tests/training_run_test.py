"""What all trainings share; the stages' own tests go through it, too."""

import shutil

import pytest

from ssimbad_jax.stages import (
    components,
    held_out,
    run,
    time_left,
    train,
    training_run,
)
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")


def test_a_refused_config_leaves_the_runs_own_in_place(finished_run, prepared_dir, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run.workdir, workdir)
    before = (workdir / components.CONFIG).read_text()
    config = tiny_run.make_config(prepared_dir, train__learning_rate=1e-2)
    with pytest.raises(ValueError, match=r"train\.learning_rate was 0\.001 and is 0\.01"):
        run.run(config, workdir, ["train"])
    assert (workdir / components.CONFIG).read_text() == before
    # One that may continue is kept, for whoever uses the weights.
    config = tiny_run.make_config(prepared_dir, eval__sampler_steps=3)
    run.run(config, workdir, ["train"])
    assert '"sampler_steps": 3' in (workdir / components.CONFIG).read_text()


def test_long_runs_name_the_quick_start(prepared_dir, monkeypatch, capsys):
    monkeypatch.setattr(
        time_left, "seconds_after", lambda *_: {"refinement": 82800.0, "scoring": 60.0}
    )
    config = tiny_run.make_config(prepared_dir)
    for steps_left in (1800, 3600):
        training_run._announce("train", config, [], 36, 1, 1.0, steps_left)
    short, long = capsys.readouterr().out.splitlines()
    assert short == (
        "train: the rest will take about 30 min 0 s here, then refinement 23 h 0 min and scoring "
        "1 min 0 s, 23 h 31 min in all"
    )
    assert "about 1 h 0 min" in long and long.endswith("make quickstart")


def test_pictures_that_a_kill_took_are_drawn_by_the_next_start(finished_run, tmp_path):
    """Also where all steps are done; the others stay as they are."""
    workdir = tmp_path / "run"
    shutil.copytree(finished_run.workdir, workdir)
    grids = {path.name: path.read_bytes() for path in (workdir / "samples").iterdir()}
    last = held_out.picture_path(workdir / "samples", tiny_run.STEPS)
    last.unlink()
    train.train(finished_run.config, workdir)
    assert {path.name: path.read_bytes() for path in (workdir / "samples").iterdir()} == grids


def test_a_training_that_scores_nothing_does_not_need_the_pairs(
    finished_run, prepared_dir, tmp_path, capsys
):
    shutil.copy(finished_run.workdir / "calibration.json", tmp_path)
    config = tiny_run.make_config(prepared_dir, train__steps=4, eval__pairs="not there.npz")
    run.run(config, tmp_path, ["train"])
    (said,) = (line for line in capsys.readouterr().out.splitlines() if "the rest" in line)
    assert said.endswith(" here")


def test_a_warm_up_as_long_as_all_epochs_is_refused(prepared_dir, tmp_path):
    config = tiny_run.make_config(
        prepared_dir, train__steps=0, train__epochs=1, train__warmup_steps=4
    )
    with pytest.raises(
        ValueError,
        match=r"train\.warmup_steps is 4, not less than the 4 steps that train\.epochs = 1 makes",
    ):
        run.run(config, tmp_path, ["train"])
