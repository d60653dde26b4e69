"""Which weights of a run are used, and how they sample."""

import shutil

import jax
import numpy as np
import pytest

from ssimbad_jax.stages import weights
from ssimbad_jax.training import sharding
from tests import tiny_run


@pytest.fixture
def config(prepared_dir):
    return tiny_run.make_config(prepared_dir)


@pytest.fixture
def mesh():
    return sharding.data_mesh(jax.devices()[:1])


def test_without_refinement_the_pretrained_weights_are_used(finished_run, config, mesh):
    assert weights.kind(config, finished_run.workdir) == "pretrain"
    used = weights.load(config, finished_run.workdir, mesh)
    assert (used.kind, used.step) == ("pretrain", tiny_run.STEPS)
    state, _ = tiny_run.restore(config, finished_run.workdir, tiny_run.STEPS)
    jax.tree.map(np.testing.assert_array_equal, used.params, state.ema_params)


@pytest.mark.parametrize(
    ("which", "stages"), [("pretrain", "calibrate,train"), ("refine", "refine")]
)
def test_missing_weights_name_the_stage_that_makes_them(which, stages, config, mesh, tmp_path):
    config.eval.weights = which
    with pytest.raises(FileNotFoundError, match=f"{which} holds no checkpoint.*={stages}$"):
        weights.load(config, tmp_path, mesh)


def test_a_run_of_refined_weights_alone_says_what_it_is_for(finished_run, config, mesh, tmp_path):
    shutil.copytree(
        finished_run.workdir / weights.FOLDERS["pretrain"], tmp_path / weights.FOLDERS["refine"]
    )
    with pytest.raises(FileNotFoundError, match=r"has refined weights only.*--weights=pretrain"):
        weights.load(config, tmp_path, mesh, "pretrain")
    assert weights.load(config, tmp_path, mesh).kind == "refine"


def test_only_refined_weights_bring_their_solver(finished_run, config, capsys, tmp_path):
    # Imported weights may not say how they were refined: then the config does.
    folder = tmp_path / weights.FOLDERS["refine"]
    shutil.copytree(finished_run.workdir / weights.FOLDERS["pretrain"], folder)
    config.eval.update(sampler="heun", sampler_steps=7, churn=3.0)
    assert weights.deployed(config, tmp_path, "pretrain") is config
    assert capsys.readouterr().out == ""
    refined = weights.deployed(config, tmp_path, "refine")
    assert (refined.eval.sampler, refined.eval.sampler_steps) == ("euler", 3)
    assert (refined.eval.grid_steps, refined.eval.churn) == (6, 0.0)
    assert "euler-3 of a 6-step grid" in capsys.readouterr().out
    assert config.eval.sampler == "heun"
    config.eval.refined_solver = False
    assert weights.deployed(config, tmp_path, "refine") is config


@pytest.mark.parametrize(
    ("field", "value", "asked"),
    [
        ("eval.sampler", "heun", True),
        ("eval.sampler_steps", 7, True),
        ("eval.clip_denoised", True, True),
        ("refine.sampler_steps", 7, True),
        ("eval.eta", 0.5, True),
        ("eval.churn", 3.0, False),
        ("eval.start_sigma", 2.0, False),
        ("eval.guidance.structure", 0.5, False),
        ("eval.guidance.reference", 2.0, False),
    ],
)
def test_what_refined_weights_cannot_honour_is_refused(
    finished_run, config, tmp_path, field, value, asked
):
    given = [field] if asked else []
    folder = tmp_path / weights.FOLDERS["refine"]
    config.update_from_flattened_dict({field: value})
    weights.check_honoured(config, tmp_path, given, refines=False)  # there are no refined weights
    shutil.copytree(finished_run.workdir / weights.FOLDERS["pretrain"], folder)
    with pytest.raises(ValueError, match=f"{field} is {value!r}.*eval.refined_solver to False"):
        weights.check_honoured(config, tmp_path, given, refines=False)
    for otherwise in ({"eval.weights": "pretrain"}, {"eval.refined_solver": False}):
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict(otherwise)
        weights.check_honoured(changed, tmp_path, given, refines=False)


def test_a_field_is_honoured_where_refinement_has_it_or_nobody_gave_it(config, tmp_path):
    config.eval.update(sampler="heun", sampler_steps=7)
    weights.check_honoured(config, tmp_path, [], refines=True)
    config.eval.update(sampler=config.refine.sampler, sampler_steps=config.refine.sampler_steps)
    weights.check_honoured(config, tmp_path, ["eval.sampler", "eval.sampler_steps"], refines=True)
    config.eval.sampler_steps += 1
    with pytest.raises(ValueError, match=r"eval\.sampler_steps is"):
        weights.check_honoured(config, tmp_path, ["eval.sampler_steps"], refines=True)
