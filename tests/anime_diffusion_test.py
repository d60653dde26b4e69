"""The DDPM baseline, made of this project's parts, against the official AnimeDiffusion."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssimbad_jax.configs import anime_diffusion
from ssimbad_jax.diffusion import (
    denoiser,
    losses,
    multistep,
    schedule,
    trajectory_gradient,
)
from ssimbad_jax.stages import components, solvers
from tests import golden_network

DDPM = schedule.ddpm()


@pytest.fixture(scope="module")
def case(golden):
    return golden_network.load_anime_diffusion(golden)


def denoise(case, params=None):
    return functools.partial(
        golden_network.denoise_by_noise_prediction, case, case.params if params is None else params
    )


def sigma_of(case):
    return jnp.asarray(np.sqrt(1 / case.arrays["gammas"][case.arrays["q_t"]] - 1.0))


def test_noise_levels_are_those_of_the_betas(case):
    sigma = DDPM.sigma_grid(999)[::-1]
    gammas = case.arrays["gammas"].astype(np.float64)
    # Near 1 the official gammas are rounded to float32, and what is left of them is little.
    np.testing.assert_allclose(1 / (1 + sigma**2), gammas, rtol=2e-5)
    np.testing.assert_allclose(sigma[100:] ** 2, 1 / gammas[100:] - 1, rtol=1e-4)
    np.testing.assert_allclose(
        DDPM.embed_sigma(jnp.asarray(sigma, jnp.float32)), np.arange(1000), atol=2e-3
    )


def test_noisy_images_are_the_official_ones(case):
    sigma = sigma_of(case)[:, None, None, None]
    c_in = denoiser.noise_prediction(sigma).c_in
    golden_network.assert_close(
        c_in * (case.image + sigma * case.noise), case.arrays["q_sample"], 1e-5
    )


def test_the_network_predicts_the_official_noise(case):
    sigma = sigma_of(case)
    noisy = case.image + sigma[:, None, None, None] * case.noise
    denoised = denoise(case)(noisy, sigma)
    predicted = (noisy - denoised) / sigma[:, None, None, None]
    golden_network.assert_close(predicted, case.arrays["eps_pred"], 3e-4)


def test_the_loss_is_the_official_one(case):
    sigma = sigma_of(case)
    weighting = losses.output_weighting(denoiser.noise_prediction)
    loss = weighting(sigma) * losses.denoising_loss(denoise(case), case.image, sigma, case.noise)
    total = float(loss.sum()) * case.image[0].size
    assert total == pytest.approx(float(case.arrays["eps_loss_sum"]), rel=1e-3)


@pytest.mark.parametrize("steps", [10, 50])
def test_sampling_is_the_official_ddim(case, steps):
    grid = DDPM.sigma_grid(steps)
    start = DDPM.start(case.noise, grid[0])
    result = jax.jit(functools.partial(multistep.ddim, denoise(case), clip_denoised=True))(
        start, grid
    )
    golden_network.assert_close(result, case.arrays[f"ddim{steps}_eta0"], 1e-3)


def test_fine_tuning_from_noise_is_the_official_one(case):
    grid = DDPM.sigma_grid(10)

    @jax.jit
    @jax.value_and_grad
    def loss_and_gradient(params):
        result = multistep.ddim(
            denoise(case, params),
            DDPM.start(case.noise, grid[0]),
            grid,
            clip_denoised=True,
            walk=trajectory_gradient.rematerialised_walk(),
        )
        return jnp.sum((result - case.image) ** 2)

    loss, gradient = loss_and_gradient(case.params)
    assert float(loss) == pytest.approx(float(case.arrays["finetune_loss_sum"]), rel=1e-3)
    norm = float(optax.tree.norm(gradient))
    assert norm == pytest.approx(float(case.arrays["finetune_grad_norm"]), rel=1e-3)


def test_the_config_is_made_of_these_parts(tmp_path):
    config = anime_diffusion.get_config()
    assert components.precondition(config) is denoiser.noise_prediction
    made = components.noise_schedule(config, tmp_path)
    np.testing.assert_array_equal(solvers.sigma_grid(config, made), DDPM.sigma_grid(50))
    np.testing.assert_allclose(
        components.weighting(config)(jnp.array([0.5, 2.0])), [4.0, 0.25], rtol=1e-6
    )
    options = solvers.SOLVERS[config.eval.sampler].options(config.eval)
    assert options == {"eta": 0.0, "clip_denoised": True}
