"""XLA computes what jax computes step by step: jax 0.10.2 did not, from 32,769 rows on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.diffusion import schedule, sigma_scale
from ssimbad_jax.metrics import noise_ssim, ssim
from ssimbad_jax.stages import components, train
from ssimbad_jax.training import sharding
from tests import random_pictures, tiny_run

pytestmark = pytest.mark.core

_ROWS = (32_767, 32_768, 32_769)


@pytest.mark.parametrize("rows", _ROWS)
def test_a_matrix_times_vectors_and_a_sum(rows):
    """The case of jax issue 39103."""
    numbers = jnp.arange(rows, dtype=jnp.float32)
    vectors = jnp.stack([numbers, jnp.zeros_like(numbers), jnp.zeros_like(numbers)], axis=1)
    squares = jax.vmap(lambda vector: jnp.sum((jnp.eye(3) @ vector) ** 2))
    expected = np.arange(rows, dtype=np.float64) ** 2
    for compute in (squares, jax.jit(squares)):
        np.testing.assert_allclose(compute(vectors), expected, rtol=1e-6)


@pytest.mark.parametrize("side", [181, 182])  # 32,761 and 33,124 pixels
def test_ssim_and_calibration(side):
    first, second = (random_pictures.pixels(number, side, side) for number in range(2))
    a, b = (jnp.asarray(x[None], jnp.float32) / 255 for x in (first, second))
    with jax.disable_jit():
        eager = ssim.ssim_uniform(a, b)
    np.testing.assert_allclose(jax.jit(ssim.ssim_uniform)(a, b), eager, rtol=1e-5)

    key, sigmas = jax.random.key(0), np.array([0.05, 0.5], np.float32)
    mesh = sharding.data_mesh(jax.devices()[:1])
    curve = noise_ssim.noise_ssim(key, first[None], sigmas, 1, mesh).reshape(-1)
    draw_key = functools.reduce(jax.random.fold_in, (0, 0), key)  # of the image, of the draw
    with jax.disable_jit():
        noise = noise_ssim.noise_of_levels(draw_key, first.shape)
        for level, sigma in enumerate(sigmas):
            noised = jnp.clip(2 * a - 1 + sigma * noise(level)[None], -1.0, 1.0)
            np.testing.assert_allclose(
                curve[level], ssim.ssim_uniform(a, (noised + 1) / 2)[0], rtol=1e-4
            )


@pytest.mark.parametrize("count", [128, 129])  # 32,768 and 33,024 pixels of 16 x 16
def test_the_loss(count, prepared_dir):
    config = tiny_run.make_config(prepared_dir)
    noise_schedule = schedule.ssimbad(sigma_scale.rational(0.3), 0.002, 80.0)
    keys = iter(jax.random.split(jax.random.key(1), 4))
    examples = train.Examples(
        image=jax.random.uniform(next(keys), (count, 16, 16, 3), minval=-1.0),
        condition=jax.random.uniform(next(keys), (count, 16, 16, 4), minval=-1.0),
        sigma=noise_schedule.sample_sigma(next(keys), (count,)),
        noise=jax.random.normal(next(keys), (count, 16, 16, 3)),
    )
    loss_fn = train.pretraining_loss(config, noise_schedule)
    params = jax.jit(functools.partial(components.init_params, config))(jax.random.key(2))
    with jax.disable_jit():
        eager = loss_fn(params, examples)
    np.testing.assert_allclose(jax.jit(loss_fn)(params, examples), eager, rtol=1e-4)
