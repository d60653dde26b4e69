"""Encoding, against a denoiser whose probability flow is known."""

import jax
import numpy as np
import pytest

from ssimbad_jax.diffusion import inversion, multistep, schedule


def test_an_encoded_image_is_decoded_again():
    """With the exact denoiser of one Gaussian, encoding and decoding are each other's inverse."""
    grid = schedule.ddpm().sigma_grid(500)
    mean, spread = 0.2, 0.3
    keys = jax.random.split(jax.random.key(0))
    image = mean + spread * jax.random.normal(keys[0], (2, 4, 4, 3))

    def exact(noisy, sigma):
        share = spread**2 / (spread**2 + sigma[:, None, None, None] ** 2)
        return mean + share * (noisy - mean)

    noise = 0.01 * jax.random.normal(keys[1], image.shape)
    encoded = inversion.encode(exact, image, noise, grid)
    # Encoded, the picture is the noise that the probability flow connects it with.
    expected = (mean + (image - mean) / spread * np.hypot(spread, grid[0])) / grid[0]
    np.testing.assert_allclose(encoded, expected, atol=0.02)
    np.testing.assert_allclose(multistep.ddim(exact, encoded, grid), image, atol=0.01)


@pytest.mark.parametrize("clip_denoised", [False, True])
def test_estimates_are_clipped_where_asked(clip_denoised):
    """By hand, in two steps up, with a denoiser that always answers 3."""
    image, noise = np.full((1, 2, 2, 3), 0.5, np.float32), np.ones((1, 2, 2, 3), np.float32)
    encoded = inversion.encode(
        lambda noisy, sigma: 0 * noisy + 3.0,
        image,
        noise,
        np.array([4.0, 2.0, 1.0, 0.0]),
        clip_denoised=clip_denoised,
    )
    x, clean = 1.5, 1.0 if clip_denoised else 3.0
    for low, high in ((1.0, 2.0), (2.0, 4.0)):
        x = clean + high / low * (x - 3.0)
    np.testing.assert_allclose(encoded, x / 4.0, rtol=1e-6)


def test_the_noise_of_the_start_is_that_of_ddpms_time_index_one():
    """As in AnimeDiffusion's code: index 0 is where the walk back ends, and no part of encoding."""
    grid, levels = schedule.ddpm().sigma_grid(10), schedule.ddpm().sigma_grid(999)[::-1]
    image, noise = np.full((1, 2, 2, 3), 0.5, np.float32), np.ones((1, 2, 2, 3), np.float32)
    started = []

    def walk(step, carry, steps):
        started.append((np.asarray(carry), float(steps.sigma[0]), len(steps.sigma)))
        return carry

    inversion.encode(lambda noisy, sigma: noisy, image, noise, grid, walk=walk)
    ((start, sigma, steps),) = started
    np.testing.assert_allclose(start, image + levels[1] * noise, rtol=1e-6)
    assert (sigma, steps) == (pytest.approx(levels[1]), 9)


def test_one_step_is_noise_alone():
    image, noise = np.full((1, 2, 2, 3), 0.5, np.float32), np.ones((1, 2, 2, 3), np.float32)
    encoded = inversion.encode(lambda noisy, sigma: noisy, image, noise, np.array([4.0, 0.0]))
    np.testing.assert_allclose(encoded, (image + 4.0) / 4.0, rtol=1e-6)
