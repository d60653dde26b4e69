"""Pretraining, on a tiny run: what is logged, continued, and equal on every device."""

import functools
import json
import shutil

import jax
import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.data import conditions
from ssimbad_jax.stages import components, pictures, run, train
from ssimbad_jax.training import loop, metric_log, sharding
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")


def _files(folder):
    return {
        path.relative_to(folder): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def _rows(workdir, name):
    return [row for row in metric_log.read(workdir / "metrics.jsonl") if name in row]


def test_the_log_has_its_rows(finished_run):
    rows = _rows(finished_run.workdir, "loss")
    assert [row["step"] for row in rows] == [5, 8, 10, 15, 16, 20, 24]
    assert [row["samples"] for row in rows] == [8 * row["step"] for row in rows]
    for row in rows:
        assert all(np.isfinite(value) for value in row.values())
        assert row["gradient_norm"] > 0 and row["images_per_second"] > 0
    validation = _rows(finished_run.workdir, "validation_loss")
    assert [row["step"] for row in validation] == [5, 8, 10, 15, 16, 20, 24]


def test_the_state_is_that_of_the_last_step(finished_run):
    state, samples = tiny_run.restore(*finished_run, tiny_run.STEPS)
    assert int(state.step) == tiny_run.STEPS
    assert samples == tiny_run.STEPS * 8
    differences = jax.tree.map(lambda a, b: np.abs(a - b).max(), state.params, state.ema_params)
    assert max(jax.tree.leaves(differences)) > 0
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}


def test_picture_grids_have_a_row_for_each_held_out_picture(finished_run):
    with PIL.Image.open(finished_run.workdir / "samples" / "00000024.png") as grid:
        cell = 128
        assert grid.width == 4 * cell  # sketch, reference, result, target
        assert (grid.height - pictures.TITLE_HEIGHT) == 4 * cell


def test_a_finished_training_says_so_and_changes_nothing(finished_run, capsys):
    before = _files(finished_run.workdir)
    train.train(*finished_run)
    assert "train: done already" in capsys.readouterr().out
    assert _files(finished_run.workdir) == before


def test_one_device_equals_eight(finished_run, tmp_path, monkeypatch):
    """The whole stage again on one device: data order, draws, steps, averages, validation."""
    assert jax.device_count() == 8
    config, workdir = finished_run
    shutil.copy(workdir / "calibration.json", tmp_path)
    data_mesh = sharding.data_mesh
    monkeypatch.setattr(
        sharding, "data_mesh", lambda devices=None: data_mesh(devices or jax.devices()[:1])
    )
    train.train(config, tmp_path)
    # After eight steps; later the rounding of Adam's first, tiny moments has grown.
    states = [
        tiny_run.restore(config, folder, tiny_run.CHECKPOINT_EVERY)[0]
        for folder in (workdir, tmp_path)
    ]
    for name in ("params", "ema_params"):
        trees = [getattr(state, name) for state in states]
        for tree in trees:
            # Softmax does not see the keys' bias: its gradient is rounding, which Adam blows up.
            bias = tree["bottleneck_attention"]["qkv"]["bias"]
            tree["bottleneck_attention"]["qkv"]["bias"] = np.delete(bias, np.s_[16:32])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *trees)
    on_eight, on_one = (
        [row["validation_loss"] for row in _rows(folder, "validation_loss")]
        for folder in (workdir, tmp_path)
    )
    np.testing.assert_allclose(on_one, on_eight, rtol=1e-4)


@pytest.mark.core
def test_bfloat16_and_a_tabulated_scale_train_and_score(prepared_dir, tmp_path):
    config = tiny_run.make_config(
        prepared_dir,
        calibrate__scale="table",
        model__channel_multipliers=(1,),
        model__compute_dtype="bfloat16",
        train__loss_weighting="edm",
        train__accumulate=1,
        train__steps=4,
    )
    run.run(config, tmp_path, run.default_stages(config))
    state, _ = tiny_run.restore(config, tmp_path, 4)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    assert all(np.isfinite(row["loss"]) for row in _rows(tmp_path, "loss"))
    summary = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    assert summary["checkpoint_step"] == 4
    assert 0 < summary["rows"][0]["psnr_same"] < 50


def test_a_checkpoint_of_another_network_is_refused(finished_run, prepared_dir, tmp_path):
    shutil.copytree(finished_run.workdir / "checkpoints", tmp_path / "checkpoints")
    config = tiny_run.make_config(prepared_dir, model__base_channels=16, train__steps=32)
    with pytest.raises(ValueError, match="shape"):
        train.train(config, tmp_path)


def test_too_few_pictures_for_a_batch_are_refused(prepared_dir, tmp_path):
    config = tiny_run.make_config(prepared_dir, train__batch_size=48)
    with pytest.raises(ValueError, match=r"train\.batch_size is 48, but there are 36 .* 4 more"):
        train.train(config, tmp_path)


@pytest.fixture(scope="module")
def stored():
    """A batch of stored pictures."""
    return {"image": np.random.default_rng(0).integers(0, 256, (400, 32, 32, 3), np.uint8)}


def _drawing(draw, config):
    schedule = components.noise_schedule(config, None)
    return functools.partial(draw, config=config, noise_schedule=schedule)


def test_dropping_nothing_is_the_same_program(prepared_dir, stored):
    config = tiny_run.make_config(prepared_dir)
    plain, training = (
        str(jax.make_jaxpr(_drawing(draw, config))(jax.random.key(0), stored))
        for draw in (train.draw_examples, train.draw_training_examples)
    )
    assert training == plain


def test_dropping_conditions_changes_nothing_else(prepared_dir, stored):
    config = tiny_run.make_config(prepared_dir, train__drop_sketch=0.3, train__drop_reference=0.2)
    key = jax.random.key(0)
    plain, dropped = (
        jax.jit(_drawing(draw, config))(key, stored)
        for draw in (train.draw_examples, train.draw_training_examples)
    )
    for name in ("image", "sigma", "noise"):
        np.testing.assert_array_equal(getattr(dropped, name), getattr(plain, name))
    is_gone = np.asarray(dropped.condition == conditions.NOT_GIVEN).all(axis=(1, 2))
    kept = np.where(is_gone[:, None, None, :], plain.condition, dropped.condition)
    np.testing.assert_array_equal(kept, plain.condition)
    assert is_gone[:, 0].mean() == pytest.approx(0.3, abs=0.1)
    assert is_gone[:, 1].mean() == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize("weighting", ["uniform", "edm"])
def test_the_loss_of_each_example_is_weighted(prepared_dir, stored, monkeypatch, weighting):
    config = tiny_run.make_config(
        prepared_dir, calibrate__scale="rational", train__loss_weighting=weighting
    )
    monkeypatch.setattr(
        components,
        "denoise_with_params",
        lambda *_: lambda params, noisy, sigma, condition: jax.numpy.zeros_like(noisy),
    )
    batch = {"image": stored["image"][:8]}
    examples = jax.jit(_drawing(train.draw_examples, config))(jax.random.key(0), batch)
    loss_fn = train.LOSSES["denoising"](config, components.noise_schedule(config, None))
    # Of the answer "all grey" the error is the picture itself.
    expected = np.square(examples.image).mean(axis=(1, 2, 3))
    if weighting == "edm":  # 1 / c_out^2, Karras et al. 2022, table 1
        data, sigma = config.diffusion.sigma_data, np.asarray(examples.sigma)
        expected *= (sigma**2 + data**2) / (sigma * data) ** 2
    np.testing.assert_allclose(loss_fn(None, examples), expected, rtol=1e-4)


def test_validation_losses_do_not_depend_on_dropout(prepared_dir, tmp_path, monkeypatch):
    losses = {}
    for share in (0.0, 0.9):
        config = tiny_run.make_config(
            prepared_dir,
            calibrate__scale="rational",
            train__drop_sketch=share,
            train__drop_reference=share,
        )

        def validate(step, state, *arguments, share=share, **settings):
            losses[share] = settings["hooks"].validate(state)
            return state

        monkeypatch.setattr(loop, "train", validate)
        train.train(config, tmp_path / str(share))
    assert losses[0.0] == losses[0.9] > 0
