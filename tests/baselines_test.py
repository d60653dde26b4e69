"""The baselines: other configs over the same code, from training to scores."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.configs import anime_diffusion, edm, edm_ssimbad, regression
from ssimbad_jax.diffusion import losses, multistep
from ssimbad_jax.stages import components, refine, run, train, validation
from ssimbad_jax.training import metric_log
from tests import tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

BASELINES = {
    module.__name__.split(".")[-1]: module for module in (edm, anime_diffusion, regression)
}
# What a baseline is, is not to be overwritten by the tiny sizes.
OWN = ("eval.sampler", "eval.sampler_steps", "refine.sampler_steps", "refine.grid_steps")


@pytest.fixture
def tiny(prepared_dir):
    """Returns a baseline's config at the size of the tiny run."""

    def make(module, **fields):
        config = module.get_config()
        sizes = {name: value for name, value in tiny_run.FIELDS.items() if name not in OWN}
        config.update_from_flattened_dict(sizes | {"data.prepared_dir": str(prepared_dir)})
        config.update_from_flattened_dict({n.replace("__", "."): v for n, v in fields.items()})
        return config

    return make


def examples_for(schedule):
    keys = jax.random.split(jax.random.key(9), 4)
    return train.Examples(
        image=jax.random.uniform(keys[0], (4, 16, 16, 3), minval=-1.0),
        condition=jax.random.uniform(keys[1], (4, 16, 16, 4), minval=-1.0),
        sigma=schedule.sample_sigma(keys[2], (4,)),
        noise=jax.random.normal(keys[3], (4, 16, 16, 3)),
    )


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_overrides_the_paper_and_works(name):
    config = BASELINES[name].get_config()
    validation.check(config, 1)
    paper = edm_ssimbad.get_config()
    flat, of_paper = (dict(components.as_json(c)["diffusion"]) for c in (config, paper))
    changed = {field for field in flat if flat[field] != of_paper[field]}
    assert changed and changed <= {"schedule", "preconditioning"}
    assert config.train.to_dict() | {"loss_weighting": "uniform"} == paper.train.to_dict()
    assert config.model == paper.model and config.data == paper.data


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "methods"),
    [
        ("anime_diffusion", 4, {"ddim-4": 4, "posterior mean": 1}),
        ("regression", 1, {"euler-1": 1}),
    ],
)
def test_a_baseline_trains_and_is_scored(tiny, tmp_path, name, steps, methods):
    config = tiny(BASELINES[name], eval__sampler_steps=steps)
    config.train.steps = 16
    run.run(config, tmp_path, ["train", "evaluate"])
    summary = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    calls = {row["method"]: row["network_calls"] for row in summary["rows"]}
    assert {method: calls.get(method) for method in methods} == methods
    # The two simple answers, and nothing else.
    assert len(calls) == len(methods) + 2
    logged = metric_log.read(tmp_path / "metrics.jsonl")
    of_validation = [row["validation_loss"] for row in logged if "validation_loss" in row]
    assert of_validation[-1] < of_validation[0]


def test_a_regression_minimises_the_squared_error_of_its_answer(tiny):
    config = tiny(regression)
    schedule = components.noise_schedule(config, None)
    examples = examples_for(schedule)
    params = jax.jit(lambda key: components.init_params(config, key))(jax.random.key(0))
    x = jnp.concatenate([jnp.zeros_like(examples.image), examples.condition], axis=-1)
    answer = jax.jit(components.network(config).apply)({"params": params}, x, jnp.zeros(4))
    np.testing.assert_allclose(
        jax.jit(train.LOSSES[config.train.loss](config, schedule))(params, examples),
        ((answer - examples.image) ** 2).mean(axis=(1, 2, 3)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("start", ["noise", "target"])
def test_fine_tuning_walks_from_noise_or_from_the_encoded_target(tiny, start):
    config = tiny(anime_diffusion, refine__start=start, refine__sampler_steps=3)
    schedule = components.noise_schedule(config, None)
    drawn = examples_for(schedule)
    steps = jnp.full(4, 3)
    keys = jax.random.split(jax.random.key(2), 4)
    examples = refine.Examples(*drawn[:4], length=steps, gradient_steps=steps, key=keys)
    params = jax.jit(lambda key: components.init_params(config, key))(jax.random.key(0))
    loss_fn = refine.refinement_loss(config, schedule)
    loss, gradient = jax.jit(jax.value_and_grad(lambda p: loss_fn(p, examples).mean()))(params)

    denoise = components.denoise_with_params(config, schedule)
    grid = schedule.sigma_grid(3)

    def by_hand(params):
        def of_examples(noisy, sigma):
            return denoise(params, noisy, sigma, examples.condition)

        if start == "noise":
            x = (1 + grid[0] ** 2) ** 0.5 * examples.noise
        else:
            x = examples.image + grid[2] * examples.noise
            for low, high in ((grid[2], grid[1]), (grid[1], grid[0])):
                denoised = of_examples(x, jnp.full(4, low))
                x = jnp.clip(denoised, -1, 1) + high / low * (x - denoised)
            x = jax.lax.stop_gradient(x)
        result = multistep.ddim(of_examples, x / grid[0], grid, clip_denoised=True)
        return losses.squared_error(result / 2, examples.image / 2).mean()

    expected, expected_gradient = jax.jit(jax.value_and_grad(by_hand))(params)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3 * np.abs(b).max() + 1e-7),
        gradient,
        expected_gradient,
    )


def test_colours_are_jittered_in_training_alone(tiny):
    config = tiny(edm, data__colour_jitter=0.5)
    schedule = components.noise_schedule(config, None)
    batch = {"image": jnp.full((4, 32, 32, 3), 128, jnp.uint8)}
    draw = {"config": config, "noise_schedule": schedule}
    plain = train.draw_examples(jax.random.key(0), batch, **draw)
    jittered = train.draw_training_examples(jax.random.key(0), batch, **draw)
    assert np.ptp(plain.image) < 1e-6
    assert np.ptp(jittered.image) > 0.2
    np.testing.assert_allclose(plain.condition[..., 0], jittered.condition[..., 0], atol=1e-6)
