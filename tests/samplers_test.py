"""Samplers against the official ones and against an exact solution."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.diffusion import samplers, schedule
from tests import golden_network

pytestmark = pytest.mark.core

SIGMA_OF_DATA = 0.5


def gaussian_denoise(x, sigma):
    """The exact D for data N(0, SIGMA_OF_DATA^2)."""
    variance = SIGMA_OF_DATA**2
    return x * (variance / (variance + sigma**2))[:, None, None, None]


def exact_solution(noise, sigma_max):
    """The probability-flow ODE of Gaussian data shrinks x by the ratio of standard deviations."""
    return sigma_max * noise * SIGMA_OF_DATA / np.sqrt(SIGMA_OF_DATA**2 + sigma_max**2)


@pytest.mark.parametrize("name", ["denoiser", "denoiser_cbam"])
def test_trajectories_equal_official(golden, name):
    case = golden_network.load(golden, name)
    grid = case.arrays["sigma_grid"].astype(np.float64)

    def denoise(noisy, sigma):
        return case.denoise(case.params, noisy, sigma)

    # A last step of length zero leaves the state after the first Heun step.
    first = samplers.heun(denoise, case.noise, grid[[0, 1, 1]])
    golden_network.assert_close(first, case.arrays["heun_first"], 1e-3)
    final = samplers.heun(denoise, case.noise, grid)
    golden_network.assert_close(final, case.arrays["heun_final"], 1e-3)
    sub_grid = schedule.sub_grid(grid, int(case.arrays["euler_steps"]))
    final = samplers.euler(denoise, case.noise, sub_grid)
    golden_network.assert_close(final, case.arrays["euler_final"], 1e-3)


@pytest.mark.parametrize("sampler,order", [(samplers.euler, 1), (samplers.heun, 2)])
def test_order_of_convergence(sampler, order):
    noise = jax.random.normal(jax.random.key(0), (1, 4, 4, 3))
    exact = exact_solution(noise, 2.0)

    def error(steps):
        grid = np.append(np.linspace(2.0, 0.002, steps), 0.0)
        return np.abs(sampler(gaussian_denoise, noise, grid) - exact).max()

    rate = np.log2(error(16) / error(32))
    assert order - 0.35 < rate < order + 0.5


def test_churn_draws_noise_and_keeps_the_distribution():
    noise = jax.random.normal(jax.random.key(0), (1, 64, 64, 3))
    grid = np.append(np.geomspace(80.0, 0.002, 40), 0.0)
    churn = samplers.Churn(amount=20.0, sigma_min=0.01, sigma_max=50.0)
    draws = [
        samplers.heun(gaussian_denoise, noise, grid, key=jax.random.key(k), churn=churn)
        for k in (1, 1, 2)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.abs(draws[0] - draws[2]).max() > 0.1
    assert draws[0].std() == pytest.approx(SIGMA_OF_DATA, rel=0.05)


@pytest.mark.parametrize("amount", [2.0, 1e3])
def test_churn_is_that_of_algorithm_2(amount):
    """Raised noise levels and added noise, in float64 (Karras et al. 2022, Algorithm 2)."""
    noise, key = jax.random.normal(jax.random.key(0), (1, 8, 8, 3)), jax.random.key(1)
    grid = np.array([80.0, 60.0, 5.0, 0.1, 0.05, 0.0])
    churn = samplers.Churn(amount, sigma_min=0.1, sigma_max=60.0, noise_scale=1.007)
    passed = samplers.trajectory(
        samplers.euler, gaussian_denoise, noise, grid, key=key, churn=churn
    )
    x = grid[0] * np.asarray(noise, np.float64)
    for number, (sigma, sigma_next) in enumerate(itertools.pairwise(grid)):
        gamma = min(amount / 5, np.sqrt(2) - 1) if 0.1 <= sigma <= 60.0 else 0.0
        raised = sigma + gamma * sigma
        drawn = 1.007 * np.asarray(samplers.draw_noise(key, number, noise), np.float64)
        x = x + np.sqrt(raised**2 - sigma**2) * drawn
        np.testing.assert_allclose(passed.sigma[number], raised, rtol=1e-6)
        np.testing.assert_allclose(passed.state[number], x, rtol=1e-4, atol=1e-4 * raised)
        slope = (x - np.asarray(gaussian_denoise(x, np.full(1, raised)), np.float64)) / raised
        x = x + (sigma_next - raised) * slope


@pytest.mark.parametrize("sampler", [samplers.euler, samplers.heun])
@pytest.mark.parametrize("amount", [0.0, 5.0])
def test_a_trajectory_is_what_the_sampler_passes(sampler, amount):
    noise = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    grid = np.append(np.geomspace(80.0, 0.002, 4), 0.0)
    options = {"key": jax.random.key(1), "churn": samplers.Churn(amount)}
    passed = samplers.trajectory(sampler, gaussian_denoise, noise, grid, **options)
    assert passed.state.shape == passed.denoised.shape == (4, 2, 4, 4, 3)
    for sigma, x, denoised in zip(*passed, strict=True):
        np.testing.assert_allclose(
            denoised, gaussian_denoise(x, jnp.broadcast_to(sigma, (2,))), rtol=1e-5, atol=1e-6
        )
    final = sampler(gaussian_denoise, noise, grid, **options)
    np.testing.assert_allclose(final, passed.denoised[-1], atol=1e-5)
    if amount:
        assert (passed.sigma > grid[:-1]).all()
    else:
        np.testing.assert_allclose(passed.sigma, grid[:-1], rtol=1e-6)
        np.testing.assert_allclose(passed.state[0], 80 * noise, rtol=1e-6)
        # Cut after a step of length zero, the walk ends where the trajectory goes on.
        until = sampler(gaussian_denoise, noise, [grid[0], grid[1], grid[1]])
        np.testing.assert_allclose(passed.state[1], until, rtol=1e-5)


def test_one_step_is_the_posterior_mean():
    noise = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    result = samplers.heun(gaussian_denoise, noise, [80.0, 0.0])
    expected = gaussian_denoise(80.0 * noise, jnp.full((2,), 80.0))
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_with_a_key_each_an_image_does_not_depend_on_its_batch():
    noise = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    keys = jax.random.split(jax.random.key(5), 2)
    churn = samplers.Churn(5.0)
    both = samplers.euler(gaussian_denoise, noise, [80.0, 1.0, 0.0], key=keys, churn=churn)
    alone = samplers.euler(gaussian_denoise, noise[1:], [80.0, 1.0, 0.0], key=keys[1:], churn=churn)
    np.testing.assert_allclose(both[1:], alone, atol=1e-6)
    first, second = samplers.draw_noise(keys, 0, noise)
    assert np.abs(first - second).max() > 1


def test_churn_without_key_is_refused():
    with pytest.raises(ValueError, match="pass key="):
        samplers.euler(
            gaussian_denoise, jnp.zeros((1, 4, 4, 3)), [1.0, 0.0], churn=samplers.Churn(1.0)
        )


def test_grid_of_one_entry_is_refused():
    with pytest.raises(ValueError, match="two entries"):
        samplers.heun(gaussian_denoise, jnp.zeros((1, 4, 4, 3)), [1.0])
