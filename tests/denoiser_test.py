"""The preconditioned denoiser against the official one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.diffusion import denoiser
from tests import golden_network

pytestmark = pytest.mark.core


@pytest.mark.parametrize("name", ["denoiser", "denoiser_cbam"])
def test_denoised_equals_official(golden, name):
    case = golden_network.load(golden, name)
    for sigma, expected in zip(case.arrays["sigmas"], case.arrays["denoised"], strict=True):
        noisy = case.image + sigma * case.noise
        sigmas = jnp.full(noisy.shape[:1], sigma)
        golden_network.assert_close(case.denoise(case.params, noisy, sigmas), expected, 1e-4)


def test_preconditioning_keeps_unit_variance():
    """c_in x has variance 1, and so has the network's target (Karras et al. 2022, appendix B.6)."""
    sigma, sigma_data = jnp.geomspace(0.002, 80.0, 20), 0.5
    c = denoiser.karras(sigma_data)(sigma)
    np.testing.assert_allclose(c.c_in**2 * (sigma**2 + sigma_data**2), 1.0, rtol=1e-5)
    target_variance = ((1 - c.c_skip) ** 2 * sigma_data**2 + c.c_skip**2 * sigma**2) / c.c_out**2
    np.testing.assert_allclose(target_variance, 1.0, rtol=1e-4)


def test_without_noise_the_image_comes_back():
    image = jax.random.uniform(jax.random.key(0), (2, 4, 4, 3), minval=-1.0)
    result = denoiser.denoise(
        lambda x, _: jnp.ones_like(x[..., :3]),
        image,
        jnp.full((2,), 1e-6),
        jnp.zeros((2, 4, 4, 4)),
        embed_sigma=lambda sigma: sigma,
        precondition=denoiser.karras(0.5),
    )
    np.testing.assert_allclose(result, image, atol=1e-5)


def test_a_regression_is_not_shown_the_noisy_image():
    def network(x, c_noise):
        return 2.0 * x[..., :3] + x[..., 3:6] + c_noise[:, None, None, None]

    condition = jax.random.normal(jax.random.key(0), (2, 4, 4, 4))
    result = denoiser.denoise(
        network,
        jnp.full((2, 4, 4, 3), 7.0),
        jnp.full((2,), 80.0),
        condition,
        embed_sigma=jnp.zeros_like,
        precondition=denoiser.image_prediction,
    )
    np.testing.assert_array_equal(result, condition[..., :3])


def test_noise_prediction_brings_images_to_ddpms_scale():
    """The network sees sqrt(gamma) x0 + sqrt(1 - gamma) n, and its n gives x0 back."""
    keys = jax.random.split(jax.random.key(0))
    image, noise = (jax.random.normal(key, (2, 4, 4, 3)) for key in keys)
    gamma = jnp.array([0.9, 0.1])
    shown = []

    def network(x, c_noise):
        shown.append(x[..., :3])
        return noise

    sigma = jnp.sqrt(1 / gamma - 1)
    result = denoiser.denoise(
        network,
        image + sigma[:, None, None, None] * noise,
        sigma,
        jnp.zeros((2, 4, 4, 4)),
        embed_sigma=lambda sigma: sigma,
        precondition=denoiser.noise_prediction,
    )
    g = gamma[:, None, None, None]
    np.testing.assert_allclose(shown[0], jnp.sqrt(g) * image + jnp.sqrt(1 - g) * noise, atol=1e-5)
    np.testing.assert_allclose(result, image, atol=1e-5)
