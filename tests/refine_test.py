"""The refine stage: from a pretrained run to weights that its own solver samples with."""

import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssimbad_jax.diffusion import losses
from ssimbad_jax.metrics import ms_ssim
from ssimbad_jax.models import perceptual
from ssimbad_jax.stages import components, evaluate, refine, run, solvers, validation, weights
from ssimbad_jax.training import metric_log, sharding
from tests import stand_in_network, tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def refined_run(finished_run, prepared_dir, tmp_path_factory):
    """A copy of the tiny run, refined and scored."""
    workdir = tmp_path_factory.mktemp("refined") / "run"
    shutil.copytree(finished_run.workdir, workdir)
    config = tiny_run.make_config(prepared_dir)
    run.run(config, workdir, ["refine", "evaluate", "report"])
    return tiny_run.TinyRun(config, workdir)


@pytest.fixture
def config(prepared_dir):
    return tiny_run.make_config(prepared_dir)


@pytest.fixture
def params(monkeypatch):
    """Of the stand-in, which the test uses then."""
    stand_in_network.use(monkeypatch)
    return stand_in_network.PARAMS


def make_examples(config):
    """(schedule, examples of two pictures, function that draws them)."""
    noise_schedule = components.noise_schedule(config, None)
    batch = {"image": jax.random.randint(jax.random.key(9), (2, 32, 32, 3), 0, 255, jnp.uint8)}
    draw = jax.jit(
        functools.partial(refine.draw_examples, config=config, noise_schedule=noise_schedule)
    )
    return noise_schedule, draw(jax.random.key(0), batch), lambda key: draw(key, batch)


def init_params(config):
    return jax.jit(lambda key: components.init_params(config, key))(jax.random.key(0))


def test_everything_is_left_in_the_workdir(refined_run):
    for name in (
        "checkpoints/refine/3",
        "checkpoints/refine/6",
        "refine/metrics.jsonl",
        "refine/samples/00000006.png",
    ):
        assert (refined_run.workdir / name).exists()
    rows = metric_log.read(refined_run.workdir / "refine" / "metrics.jsonl")
    assert {row["step"] for row in rows} == {2, 3, 4, 6}
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    # The log of the pretraining goes on being that of the pretraining.
    rows = metric_log.read(refined_run.workdir / "metrics.jsonl")
    assert max(row["step"] for row in rows) == tiny_run.STEPS


def test_refined_weights_are_scored_with_the_solver_they_were_refined_with(refined_run):
    summary = json.loads((refined_run.workdir / "eval" / "metrics.json").read_text())
    assert (summary["weights"], summary["checkpoint_step"]) == ("refine", 6)
    methods = {row["method"]: row["network_calls"] for row in summary["rows"]}
    assert methods["euler-3"] == 3


def test_the_solver_is_that_of_the_checkpoint_whatever_the_config_says(refined_run, config, capsys):
    config.refine.update(sampler="ddim", sampler_steps=5, grid_steps=0, clip_denoised=True)
    sampling = weights.deployed(config, refined_run.workdir, "refine").eval
    assert not sampling.clip_denoised
    assert (sampling.sampler, sampling.sampler_steps, sampling.grid_steps) == ("euler", 3, 6)
    assert "by euler-3 of a 6-step grid; --config" in capsys.readouterr().out
    assert config.refine.sampler == "ddim"


def test_pretrained_weights_can_still_be_chosen(refined_run, config):
    config.eval.weights, config.eval.folder = "pretrain", "eval_pretrained"
    evaluate.evaluate(config, refined_run.workdir)
    folder = refined_run.workdir / "eval_pretrained"
    summary = json.loads((folder / "metrics.json").read_text())
    assert (summary["weights"], summary["checkpoint_step"]) == ("pretrain", tiny_run.STEPS)
    assert "euler-2" in {row["method"] for row in summary["rows"]}


def test_it_starts_from_the_averaged_weights_and_moves_them(refined_run, config):
    mesh = sharding.data_mesh(jax.devices()[:1])
    before = weights.load(config, refined_run.workdir, mesh, "pretrain")
    after = weights.load(config, refined_run.workdir, mesh)
    assert (before.kind, after.kind) == ("pretrain", "refine")
    difference = optax.tree.norm(jax.tree.map(jnp.subtract, before.params, after.params))
    assert 0 < difference < 0.2 * optax.tree.norm(before.params)


def test_interrupted_equals_uninterrupted(refined_run, finished_run, config, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run.workdir, workdir)
    shutil.copytree(
        refined_run.workdir / "checkpoints" / "refine" / "3", workdir / "checkpoints/refine/3"
    )
    refine.refine(config, workdir)
    mesh = sharding.data_mesh(jax.devices()[:1])
    expected = weights.load(config, refined_run.workdir, mesh).params
    jax.tree.map(
        np.testing.assert_array_equal, weights.load(config, workdir, mesh).params, expected
    )


def test_done_is_said(refined_run, config, capsys):
    refine.refine(config, refined_run.workdir)
    assert "refine: done already" in capsys.readouterr().out


def test_another_config_does_not_continue(refined_run, config):
    before = (refined_run.workdir / components.CONFIG).read_text()
    config.refine.learning_rate = 1e-3
    with pytest.raises(ValueError, match=r"refine\.learning_rate was 0\.0002 and is 0\.001"):
        run.run(config, refined_run.workdir, ["refine"])
    # The run keeps the config its weights were made with.
    assert (refined_run.workdir / components.CONFIG).read_text() == before


def test_another_pretraining_does_not_continue(refined_run, config, tmp_path):
    shutil.copytree(refined_run.workdir, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "pretrain" / str(tiny_run.STEPS))
    with pytest.raises(
        ValueError, match=r"refines step 24 of .* at step 16 by now\. Move \S+/refine away"
    ):
        refine.refine(config, tmp_path / "run")


def test_without_pretraining_nothing_is_run(config, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no checkpoint.*--stages=calibrate,train"):
        run.run(config, tmp_path / "run", ["refine"])
    assert not (tmp_path / "run").exists()


def test_pretraining_of_another_network_is_refused(finished_run, config, tmp_path):
    config.model.num_heads = 4
    with pytest.raises(ValueError, match=r"model\.num_heads was 2 and is 4"):
        run.run(config, finished_run.workdir, ["refine"])
    config = tiny_run.make_config(tmp_path, model__base_channels=16)
    with pytest.raises(ValueError, match="does not fit this config"):
        run.run(config, finished_run.workdir, ["refine"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampler_steps": 0}, r"refine\.sampler_steps is 0; set it to 1 or more"),
        ({"sampler": "magic"}, r"refine\.sampler is 'magic'; choose one of 'heun', 'euler'"),
        ({"grid_steps": 2}, r"refine\.grid_steps is 2, fewer than refine\.sampler_steps = 3"),
        ({"min_sampler_steps": 4}, r"refine\.min_sampler_steps is 4; set it to 3 or less"),
        ({"gradient_steps": 4}, r"refine\.gradient_steps is 4; set it to 3 or less"),
        (
            {"gradient_steps": 1, "min_gradient_steps": 2},
            r"refine\.min_gradient_steps is 2; set it to 1 or less",
        ),
        ({"denoising_share": 1.0}, r"refine\.denoising_share is 1\.0; set it below 1"),
        ({"losses.mse": 0.0}, r"refine\.losses are .*at least one of them positive"),
        ({"losses.mse": -1.0}, r"refine\.losses are .*weights of 0 or more"),
        ({"accumulate": 3}, r"refine\.batch_size is 8, not divisible by"),
        ({"steps": 0, "epochs": 0}, r"refine\.steps and refine\.epochs are both 0"),
        ({"warmup_steps": 6}, r"refine\.warmup_steps is 6, not less than refine\.steps"),
        ({"final_learning_rate": 1.0}, r"refine\.final_learning_rate is 1\.0, above"),
        ({"checkpoint": "oldest"}, r"refine\.checkpoint is 'oldest'"),
    ],
)
def test_impossible_refinements_are_refused(config, fields, message):
    config.update_from_flattened_dict({f"refine.{name}": value for name, value in fields.items()})
    with pytest.raises(validation.ConfigError, match=message):
        validation.check(config, num_devices=1)


def test_a_small_batch_keeps_few_devices_busy(config, capsys):
    config.refine.batch_size = 6
    assert refine.usable_mesh(config).size == 6
    assert "keeps 6 of 8 devices busy; a multiple of 8" in capsys.readouterr().out
    validation.check(config, num_devices=8)
    with pytest.raises(validation.ConfigError, match=r"refine\.batch_size is 6, not divisible"):
        validation.check(config, num_devices=8, num_processes=2)


@pytest.mark.parametrize("sampler", solvers.SOLVERS)
def test_any_sampler_can_be_refined(config, params, sampler):
    config.refine.sampler = sampler
    _check_that_what_is_trained_samples(config, params)


def test_a_walk_of_clipped_estimates_is_refined_and_deployed_as_such(config, params):
    config.refine.update(sampler="ddim", clip_denoised=True)
    assert not config.eval.clip_denoised
    _check_that_what_is_trained_samples(config, params)
    noise_schedule, examples, _ = make_examples(config)
    images = {}
    for clipped in (True, False):
        config.refine.clip_denoised = clipped
        images[clipped] = refine.differentiable_sample(config, noise_schedule)(params, examples)
    assert np.abs(images[True]).max() <= 1 < np.abs(images[False]).max()


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["heun", "dpmpp_2m_sde", "unipc"])
def test_the_network_itself_can_be_refined_through_any_sampler(config, sampler):
    config.refine.sampler = sampler
    _check_that_what_is_trained_samples(config, init_params(config))


def _check_that_what_is_trained_samples(config, params):
    """Equal images, and a gradient for every parameter."""
    noise_schedule, examples, _ = make_examples(config)
    sample = refine.differentiable_sample(config, noise_schedule)
    deployed = solvers.sample(solvers.of_refinement(config), noise_schedule)
    image = jax.jit(sample)(params, examples)
    expected = jax.jit(deployed)(params, examples.noise, examples.condition, examples.key)
    np.testing.assert_allclose(image, expected, atol=2e-4 * np.abs(expected).max())
    loss_fn = refine.refinement_loss(config, noise_schedule)
    gradient = jax.jit(jax.grad(lambda params: loss_fn(params, examples).mean()))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_drawn_lengths_walk_the_grid_of_that_length(config, params):
    config.refine.update(min_sampler_steps=1, grid_steps=0)
    noise_schedule, examples, _ = make_examples(config)
    sample = jax.jit(refine.differentiable_sample(config, noise_schedule))
    for steps in (1, 2, 3):
        deployed = solvers.of_refinement(config)
        deployed.eval.sampler_steps = steps
        expected = jax.jit(solvers.sample(deployed, noise_schedule))(
            params, examples.noise, examples.condition, examples.key
        )
        image = sample(params, examples._replace(length=jnp.full((2,), steps)))
        np.testing.assert_allclose(image, expected, atol=2e-4 * np.abs(expected).max())


def test_lengths_and_gradient_steps_are_drawn_from_their_ranges(config):
    config.refine.update(sampler_steps=4, min_sampler_steps=2, min_gradient_steps=1)
    _, _, draw = make_examples(config)
    drawn = [draw(key) for key in jax.random.split(jax.random.key(1), 40)]
    assert {int(x) for one in drawn for x in one.length} == {2, 3, 4}
    assert {int(x) for one in drawn for x in one.gradient_steps} == {1, 2, 3, 4}
    assert all(len(set(one.length.tolist())) == 1 for one in drawn)


def test_the_gradient_of_the_last_steps_only_is_another_one(config, params):
    noise_schedule, examples, _ = make_examples(config)

    def gradient(**fields):
        changed = config.copy_and_resolve_references()
        changed.refine.update(**fields)
        loss_fn = refine.refinement_loss(changed, noise_schedule)
        return jax.jit(jax.grad(lambda params, x: loss_fn(params, x).mean()))

    of_all = gradient()(params, examples)
    of_last = gradient(gradient_steps=1)(params, examples)
    distance = optax.tree.norm(jax.tree.map(jnp.subtract, of_all, of_last))
    assert distance > 1e-3 * optax.tree.norm(of_all)
    # Drawn, it is one of them.
    drawn = gradient(min_gradient_steps=1)
    for steps, expected in ((1, of_last), (3, of_all)):
        actual = drawn(params, examples._replace(gradient_steps=jnp.full((2,), steps)))
        difference = optax.tree.norm(jax.tree.map(jnp.subtract, actual, expected))
        assert difference < 1e-3 * optax.tree.norm(expected)


def test_losses_are_weighted_sums(config, params):
    """Each distance on [0, 1], against the function it is named after."""
    noise_schedule, examples, _ = make_examples(config)
    sample = jax.jit(refine.differentiable_sample(config, noise_schedule))(params, examples)
    a, b = (sample + 1) / 2, (examples.image + 1) / 2
    expected = {
        "mse": jnp.mean((a - b) ** 2, axis=(1, 2, 3)),
        "bounded": losses.bounded_squared_error(a, b),
        "paper": jnp.mean((jnp.clip(a, 0, 1) - b) ** 2, axis=(1, 2, 3)),
        "ms_ssim": 1 - ms_ssim.ms_ssim(a, b),
        "lpips_alex": perceptual.lpips("alex")(a, b),
    }
    config.refine.losses.mse = 0.0
    for name in expected:
        config.refine.losses[name] = 2.0
        loss = refine.refinement_loss(config, noise_schedule)(params, examples)
        np.testing.assert_allclose(loss, 2 * expected[name], rtol=1e-3)
        config.refine.losses[name] = 0.0
    config.refine.losses.update(mse=1.0, lpips_alex=0.5)
    config.refine.denoising_share = 0.25
    loss = refine.refinement_loss(config, noise_schedule)(params, examples)
    trajectory = expected["mse"] + 0.5 * expected["lpips_alex"]
    denoise = components.denoise_with_params(config, noise_schedule)
    denoising = losses.denoising_loss(
        lambda x, sigma: denoise(params, x, sigma, examples.condition),
        examples.image,
        examples.sigma,
        examples.noise,
    )
    np.testing.assert_allclose(loss, 0.75 * trajectory + 0.25 * denoising, rtol=1e-3)


def test_every_loss_of_the_config_is_there(config):
    assert set(config.refine.losses) == set(refine.DISTANCES)


def test_refinement_brings_the_solver_nearer_to_its_targets(refined_run, config):
    """On what it was trained with; six steps are enough to see it."""
    mesh = sharding.data_mesh(jax.devices()[:1])
    noise_schedule = components.noise_schedule(config, refined_run.workdir)
    training, _ = components.training_split(config)
    batch = {"image": jnp.stack([training[index]["image"] for index in range(32)])}
    examples = refine.draw_examples(
        jax.random.key(5), batch, config=config, noise_schedule=noise_schedule
    )
    loss = jax.jit(refine.refinement_loss(config, noise_schedule))
    before, after = (
        loss(weights.load(config, refined_run.workdir, mesh, kind).params, examples).mean()
        for kind in ("pretrain", "refine")
    )
    assert after < before
