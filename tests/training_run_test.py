"""What all trainings share; the stages' own tests go through it, too."""

import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.stages import components, pictures, run, train, training_run
from tests import tiny_run, toy_problem

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


def test_pictures_are_sampled_with_other_noise_than_they_start_from(tmp_path, monkeypatch):
    def draw(key, batch):
        noise = jax.random.normal(key, batch["image"].shape)
        return train.Examples(batch["image"], jnp.zeros((2, 4, 4, 4)), None, noise)

    job = training_run.Job(
        name="train",
        checkpoints=pathlib.Path("checkpoints"),
        log=pathlib.Path(),
        samples=pathlib.Path("samples"),
        draw=draw,
        loss_fn=toy_problem.loss_fn,
        init_params=dict,
        sample=lambda params, noise, _, key: jax.random.normal(key, noise.shape) - noise,
        key=jax.random.key(0),
    )
    saved = []
    monkeypatch.setattr(pictures, "save_grid", lambda path, columns, titles: saved.append(columns))
    held_out = {"image": jnp.zeros((2, 4, 4, 3))}
    training_run._picture_drawer(job, held_out, tmp_path)(toy_problem.new_state())
    assert np.ptp(saved[0][2].astype(int)) > 100


def test_long_trainings_name_the_quick_start(capsys):
    training_run._announce("refine", 3600.0)
    training_run._announce("refine", 2 * 86400.0)
    short, long = capsys.readouterr().out.splitlines()
    assert short.startswith("refine: the rest will take about 1 h") and "quick" not in short
    assert long.endswith("make quickstart")
