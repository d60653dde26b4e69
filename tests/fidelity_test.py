"""The posterior mean, and sampling that starts from it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.diffusion import fidelity, multistep, samplers
from tests import gaussian_mixture

pytestmark = pytest.mark.usefixtures("quick_compilation")

GRID = np.append(np.geomspace(0.5, 0.01, 4), 0.0)


@pytest.fixture
def noise():
    return jax.random.normal(jax.random.key(0), (2, 4, 4, 3))


@pytest.fixture
def image():
    return gaussian_mixture.sample(jax.random.key(1), (2, 4, 4, 3))


def test_the_posterior_mean_is_one_call_at_sigma_max(noise):
    result = fidelity.posterior_mean(gaussian_mixture.denoise, noise, 80.0)
    expected = gaussian_mixture.denoise(80.0 * noise, jnp.full((2,), 80.0))
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    np.testing.assert_allclose(result, gaussian_mixture.MEAN, atol=0.02)


def test_several_draws_are_averaged(noise):
    """The first is made of the noise given, the others of the key's."""
    key = jax.random.key(2)
    answers = [noise, *(samplers.draw_noise(key, draw, noise) for draw in (1, 2))]
    expected = sum(gaussian_mixture.denoise(2.0 * n, jnp.full((2,), 2.0)) for n in answers) / 3
    result = fidelity.posterior_mean(gaussian_mixture.denoise, noise, 2.0, draws=3, key=key)
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_draws_that_cannot_be_made_are_refused(noise):
    with pytest.raises(ValueError, match="draws is 0"):
        fidelity.posterior_mean(gaussian_mixture.denoise, noise, 80.0, draws=0)
    with pytest.raises(ValueError, match="pass key="):
        fidelity.posterior_mean(gaussian_mixture.denoise, noise, 80.0, draws=2)


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        (samplers.heun, {"churn": samplers.Churn(2.0)}),
        (multistep.dpmpp_2m_sde, {}),
        (multistep.unipc, {}),
    ],
)
def test_a_sampler_starts_from_the_noisy_image(sampler, options, image, noise):
    """It takes the way that it takes from a start where there is no image but this noise."""
    sampler = functools.partial(sampler, key=jax.random.key(3), **options)
    start = image + GRID[0] * noise
    expected = sampler(gaussian_mixture.denoise, start / GRID[0], GRID)
    started = fidelity.starting_from(sampler, image)
    result = started(gaussian_mixture.denoise, noise, GRID)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    passed = samplers.trajectory(started, gaussian_mixture.denoise, noise, GRID)
    if not options:
        np.testing.assert_allclose(passed.state[0], start, atol=1e-6)
    np.testing.assert_allclose(passed.denoised[-1], expected, atol=1e-5)
    for sigma, x, denoised in zip(*passed, strict=True):
        direct = gaussian_mixture.denoise(x, jnp.broadcast_to(sigma, (2,)))
        np.testing.assert_allclose(denoised, direct, atol=1e-5)


@pytest.mark.parametrize(("estimate", "expected"), [(1.5, 1.0), (-0.9, -0.9), (-1.2, -1.0)])
def test_a_clipped_estimate_is_clipped_to_the_range_of_images(estimate, expected, noise):
    started = fidelity.starting_from(multistep.ddim, jnp.full_like(noise, 0.8))
    result = started(lambda x, sigma: jnp.full_like(x, estimate), noise, GRID, clip_denoised=True)
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_sampler_that_clips_takes_the_same_way_from_the_noisy_image(eta, image, noise):
    def denoise(x, sigma):
        return 2.0 * gaussian_mixture.denoise(x, sigma)  # out of range at times

    options = {"key": jax.random.key(3), "eta": eta, "clip_denoised": True}
    expected = multistep.ddim(denoise, noise + image / GRID[0], GRID, **options)
    result = fidelity.starting_from(multistep.ddim, image)(denoise, noise, GRID, **options)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    unclipped = multistep.ddim(denoise, noise + image / GRID[0], GRID, key=options["key"], eta=eta)
    assert np.abs(unclipped - expected).max() > 0.1


def test_little_noise_keeps_the_image_and_much_draws_another(image, noise):
    def distance(sigma):
        grid = np.append(np.geomspace(sigma, sigma / 100, 6), 0.0)
        started = fidelity.starting_from(multistep.unipc, image)
        return np.abs(started(gaussian_mixture.denoise, noise, grid) - image).mean()

    distances = [distance(sigma) for sigma in (0.01, 0.3, 10.0)]
    assert distances[0] < 0.02 and distances[-1] > 0.3
    assert distances == sorted(distances)
