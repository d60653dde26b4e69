"""The denoiser that sampling uses, with a network of random weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.data import conditions, pairs
from ssimbad_jax.metrics import line_agreement
from ssimbad_jax.stages import colouring, components, guided_denoiser, solvers
from ssimbad_jax.training import sharding
from tests import stand_in_network, tiny_run

pytestmark = pytest.mark.usefixtures("quick_compilation")

SIZE = tiny_run.IMAGE_SIZE


def make_config(prepared_dir, **guidance):
    fields = {f"eval__guidance__{name}": value for name, value in guidance.items()}
    return tiny_run.make_config(prepared_dir, **fields)


@pytest.fixture
def simple(monkeypatch):
    """Has denoisers made of the stand-in."""
    stand_in_network.use(monkeypatch)


@pytest.fixture(scope="module")
def drawn():
    """(params, noisy, sigma, condition) of two pictures."""
    noisy = 2 * jax.random.normal(jax.random.key(1), (2, SIZE, SIZE, 3))
    condition = jax.random.uniform(jax.random.key(2), (2, SIZE, SIZE, 4), minval=-1.0)
    return stand_in_network.PARAMS, noisy, jnp.full((2,), 2.0), condition


def estimate(prepared_dir, drawn, **guidance):
    config = make_config(prepared_dir, **guidance)
    schedule = components.noise_schedule(config, None)
    return jax.jit(guided_denoiser.guided_denoiser(config, schedule))(*drawn)


def test_without_guidance_the_program_is_the_networks(prepared_dir, drawn):
    config = make_config(prepared_dir)
    schedule = components.noise_schedule(config, None)
    params = jax.eval_shape(functools.partial(components.init_params, config), jax.random.key(0))
    plain, unguided, guided = (
        str(jax.make_jaxpr(denoise)(params, *drawn[1:]))
        for denoise in (
            components.denoise_with_params(config, schedule),
            guided_denoiser.guided_denoiser(config, schedule),
            guided_denoiser.guided_denoiser(make_config(prepared_dir, reference=2.0), schedule),
        )
    )
    assert unguided == plain
    assert guided.count("conv_general") >= 2 * plain.count("conv_general")


@pytest.mark.parametrize(("sketch", "reference"), [(1.0, 2.5), (3.0, 1.0)])
def test_scales_weigh_what_the_network_says_without_conditions(
    simple, prepared_dir, drawn, sketch, reference
):
    *others, condition = drawn
    nothing, alone, both = (
        estimate(prepared_dir, (*others, told))
        for told in (
            conditions.without_both(condition),
            conditions.without_reference(condition),
            condition,
        )
    )
    expected = nothing + sketch * (alone - nothing) + reference * (both - alone)
    assert np.abs(expected - both).max() > 1e-2
    guided = estimate(prepared_dir, drawn, sketch=sketch, reference=reference)
    np.testing.assert_allclose(guided, expected, atol=1e-4)


def test_nothing_is_guided_outside_of_the_interval(simple, prepared_dir, drawn):
    plain = estimate(prepared_dir, drawn)
    options = {"reference": 3.0, "structure": 1.0}
    for interval in ({"sigma_max": 1.9}, {"sigma_min": 2.1}):
        outside = estimate(prepared_dir, drawn, **options, **interval)
        np.testing.assert_allclose(outside, plain, atol=1e-5)
    inside = estimate(prepared_dir, drawn, **options, sigma_min=1.9, sigma_max=2.1)
    assert np.abs(inside - plain).max() > 1e-2


def test_structure_guidance_raises_the_agreement_with_the_sketch(simple, prepared_dir, drawn):
    sketch = conditions.sketch_of(drawn[-1])
    plain, *guided = (estimate(prepared_dir, drawn, structure=scale) for scale in (0.0, 0.2, 1.0))
    np.testing.assert_array_equal(plain, estimate(prepared_dir, drawn))
    agreements = np.stack(
        [line_agreement.line_agreement(image, sketch) for image in (plain, *guided)]
    )
    assert (np.diff(agreements, axis=0) > 0.05).all()
    assert (agreements[-1] > 0.7).all()


@pytest.mark.parametrize(
    ("sampler", "churn", "guidance"),
    [
        ("heun", 0.0, {"structure": 0.5}),
        ("euler", 0.0, {"reference": 2.0}),
        ("heun", 0.0, {"sketch": 2.0}),
        ("euler", 4.0, {"reference": 2.0, "sigma_min": 0.1, "sigma_max": 5.0}),
        ("heun", 0.0, {"sketch": 1.5, "reference": 2.0, "sigma_min": 0.1, "sigma_max": 5.0}),
    ],
)
def test_the_number_of_calls_told_is_that_of_calls_made(
    prepared_dir, monkeypatch, sampler, churn, guidance
):
    config = make_config(prepared_dir, **guidance)
    config.eval.sampler, config.eval.sampler_steps, config.eval.churn = sampler, 7, churn
    schedule, calls = components.noise_schedule(config, None), []

    def denoise(params, noisy, sigma, condition):
        jax.debug.callback(lambda: calls.append(1))
        return noisy * (0.25 / (0.25 + sigma**2))[:, None, None, None]

    monkeypatch.setattr(components, "denoise_with_params", lambda *arguments: denoise)
    noise = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    with jax.default_device(jax.devices()[0]):
        sample = jax.jit(solvers.sample(config, schedule))
        sample(None, noise, jnp.zeros((1, 8, 8, 4)), jax.random.key(1)).block_until_ready()
        jax.effects_barrier()
    assert solvers.network_calls(config, schedule) == len(calls)


def test_the_truth_decides_nothing_however_sampling_is_guided(simple, prepared_dir, drawn):
    config = make_config(prepared_dir, sketch=2.0, reference=3.0, structure=0.5)
    config.calibrate.scale, config.eval.sampler_steps = "rational", 2
    mesh = sharding.data_mesh()
    shown = np.random.default_rng(0).integers(0, 256, (4, 8, SIZE, SIZE, 3), np.uint8)
    method, mean = colouring.methods(config, None)
    assert (method.name, method.network_calls) == ("euler-2, guided", 3 * 2)
    assert (mean.name, mean.network_calls) == ("posterior mean", 1)

    def coloured(truth):
        test_pairs = pairs.Pairs(truth, shown[1, ..., 0], shown[2], shown[3])
        colour = colouring.compile_method(method, drawn[0], test_pairs, config, mesh)
        batch = jax.device_put(colouring.inputs(test_pairs, "same"), sharding.over_batch(mesh))
        return np.asarray(colour(jax.random.key(0), *batch))

    pixels = coloured(shown[0])
    assert pixels.std() > 1
    np.testing.assert_array_equal(pixels, coloured(255 - shown[0]))
