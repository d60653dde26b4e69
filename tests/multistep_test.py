"""Multistep samplers against exact solutions and distributions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.diffusion import multistep, samplers, schedule, sigma_scale
from tests import gaussian_mixture

pytestmark = pytest.mark.usefixtures("quick_compilation")

ANCESTRAL = functools.partial(multistep.ddim, eta=1.0)
DETERMINISTIC = (multistep.ddim, multistep.dpmpp_2m, multistep.unipc)
RANDOM = (ANCESTRAL, multistep.dpmpp_2m_sde)

GRIDS = {
    "even in log sigma": lambda steps: np.geomspace(2.0, 0.1, steps + 1),
    # Without the step to 0, which is of first order.
    "SSIMBaD": lambda steps: schedule.ssimbad(sigma_scale.rational(0.3), 0.1, 2.0).sigma_grid(
        steps + 1
    )[:-1],
}


@pytest.fixture
def noise():
    return jax.random.normal(jax.random.key(0), (2, 4, 4, 3))


def skipping_walk(step, carry, steps):
    """Takes the steps that have a length."""

    def take(carry, at):
        moves = at.sigma_next != at.sigma
        return jax.lax.cond(moves, lambda c: step(c, at)[0], lambda c: c, carry), None

    return jax.lax.scan(take, carry, steps)[0]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    ("sampler", "order"),
    [
        (samplers.euler, 1),
        (samplers.heun, 2),
        (multistep.ddim, 1),
        (multistep.dpmpp_2m, 2),
        (multistep.unipc, 3),
    ],
)
def test_order_of_convergence_to_the_exact_solution(sampler, order, grid):
    with jax.enable_x64(True):
        noise = jax.random.normal(jax.random.key(0), (1, 8, 8, 3), jnp.float64)
        exact = gaussian_mixture.transport(2.0 * noise, 2.0, 0.1)

        def error(steps):
            image = sampler(gaussian_mixture.denoise, noise, GRIDS[grid](steps))
            return np.sqrt(np.mean((np.asarray(image) - exact) ** 2))

        rate = np.log2(error(32) / error(64))
    assert abs(rate - order) < 0.2


def test_fewer_calls_of_higher_order_come_as_near():
    """On a whole way from pure noise to the image, in float32."""
    noise = jax.random.normal(jax.random.key(0), (1, 8, 8, 3))
    exact = gaussian_mixture.transport(80.0 * noise, 80.0, 0.0)

    def error(sampler, steps):
        grid = np.append(np.geomspace(80.0, 0.01, steps), 0.0)
        return np.sqrt(np.mean((sampler(gaussian_mixture.denoise, noise, grid) - exact) ** 2))

    assert error(multistep.unipc, 16) < error(multistep.dpmpp_2m, 16) < error(samplers.euler, 64)


def test_ddim_without_noise_is_euler(noise):
    grid = np.append(np.geomspace(80.0, 0.002, 6), 0.0)
    np.testing.assert_allclose(
        multistep.ddim(gaussian_mixture.denoise, noise, grid),
        samplers.euler(gaussian_mixture.denoise, noise, grid),
        atol=2e-5,
    )


@pytest.mark.parametrize("sampler", [*RANDOM, functools.partial(multistep.ddim, eta=0.5)])
def test_drawing_noise_keeps_the_distribution(sampler):
    noise = jax.random.normal(jax.random.key(0), (1, 64, 64, 3))
    grid = np.append(np.geomspace(20.0, 0.01, 120), 0.0)
    first, other = (
        np.asarray(sampler(gaussian_mixture.denoise, noise, grid, key=jax.random.key(k)))
        for k in (1, 2)
    )
    assert np.abs(first - other).max() > 0.1
    drawn = np.asarray(gaussian_mixture.sample(jax.random.key(3), noise.shape))
    quantiles = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(
        np.quantile(first, quantiles), np.quantile(drawn, quantiles), atol=0.05
    )
    assert first.mean() == pytest.approx(gaussian_mixture.MEAN, abs=0.03)
    assert first.std() == pytest.approx(gaussian_mixture.DEVIATION, rel=0.03)


def test_half_the_noise_is_between_none_and_all():
    """One step, whose added noise has the standard deviation that eta asks for."""
    noise = jax.random.normal(jax.random.key(0), (1, 64, 64, 3))

    def nothing(x, sigma):
        return jnp.zeros_like(x)

    for eta in (0.0, 0.5, 1.0):
        x = multistep.ddim(nothing, noise, [2.0, 1.0], eta=eta, key=jax.random.key(1))
        added = eta * np.sqrt(1 - 0.25)
        assert x.std() == pytest.approx(1.0, rel=0.02)
        kept = np.mean(x * noise) / np.mean(noise**2)
        assert kept == pytest.approx(np.sqrt(1 - added**2), abs=0.02)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_clipped_steps_are_anime_diffusions(eta, noise):
    """One step in its variables: x0 is clamped, the estimate of the noise is not."""
    sigma, sigma_next = 2.0, 1.0
    gamma, gamma_next = 1 / (1 + sigma**2), 1 / (1 + sigma_next**2)
    x_t = np.sqrt(gamma) * sigma * np.asarray(noise)
    estimate = 0.7 * x_t - 0.2  # of the noise
    x0 = np.clip((x_t - np.sqrt(1 - gamma) * estimate) / np.sqrt(gamma), -1, 1)
    variance = (1 - gamma_next) / (1 - gamma) * (1 - gamma / gamma_next)
    expected = (
        np.sqrt(gamma_next) * x0
        + np.sqrt(1 - gamma_next - eta**2 * variance) * estimate
        + eta * np.sqrt(variance) * samplers.draw_noise(jax.random.key(1), 0, noise)
    )

    def denoise(x, sigma):
        return x - 2.0 * (0.7 * np.sqrt(gamma) * x - 0.2)

    result = multistep.ddim(
        denoise, noise, [sigma, sigma_next], key=jax.random.key(1), eta=eta, clip_denoised=True
    )
    np.testing.assert_allclose(np.sqrt(gamma_next) * result, expected, atol=1e-5)


@pytest.mark.parametrize("sampler", RANDOM)
def test_noise_without_key_is_refused(sampler, noise):
    with pytest.raises(ValueError, match="pass key="):
        sampler(gaussian_mixture.denoise, noise, [1.0, 0.0])


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_eta_out_of_range_is_refused(eta, noise):
    with pytest.raises(ValueError, match=f"eta is {eta}; set it to a number from 0 to 1"):
        multistep.ddim(gaussian_mixture.denoise, noise, [1.0, 0.0], eta=eta, key=jax.random.key(0))


@pytest.mark.parametrize("sampler", [*DETERMINISTIC, *RANDOM])
def test_grid_of_one_entry_is_refused(sampler, noise):
    with pytest.raises(ValueError, match="two entries"):
        sampler(gaussian_mixture.denoise, noise, [1.0], key=jax.random.key(0))


@pytest.mark.parametrize("sampler", [*DETERMINISTIC, *RANDOM])
def test_one_step_is_the_denoised_noise(sampler, noise):
    result = sampler(gaussian_mixture.denoise, noise, [80.0, 0.0], key=jax.random.key(0))
    expected = gaussian_mixture.denoise(80.0 * noise, jnp.full((2,), 80.0))
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sampler", [*DETERMINISTIC, *RANDOM])
def test_a_trajectory_is_what_the_sampler_passes(sampler, noise):
    grid = np.append(np.geomspace(80.0, 0.002, 4), 0.0)
    key = jax.random.key(1)
    passed = samplers.trajectory(sampler, gaussian_mixture.denoise, noise, grid, key=key)
    assert passed.state.shape == passed.denoised.shape == (4, 2, 4, 4, 3)
    np.testing.assert_allclose(passed.sigma, grid[:-1], rtol=1e-6)
    np.testing.assert_allclose(passed.state[0], 80 * noise, rtol=1e-6)
    for sigma, x, denoised in zip(*passed, strict=True):
        expected = gaussian_mixture.denoise(x, jnp.broadcast_to(sigma, (2,)))
        np.testing.assert_allclose(denoised, expected, rtol=1e-5, atol=1e-6)
    final = sampler(gaussian_mixture.denoise, noise, grid, key=key)
    np.testing.assert_allclose(final, passed.denoised[-1], atol=1e-6)


@pytest.mark.parametrize("walk", [samplers.walk, skipping_walk])
@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_steps_of_length_zero_at_the_start_change_nothing(sampler, walk, noise):
    grid = np.append(np.geomspace(80.0, 0.002, 6), 0.0)
    padded = jnp.asarray([80.0, 80.0, 80.0, *grid], jnp.float32)
    plain = sampler(gaussian_mixture.denoise, noise, grid)
    sample = jax.jit(lambda grid: sampler(gaussian_mixture.denoise, noise, grid, walk=walk))
    np.testing.assert_allclose(sample(padded), plain, atol=1e-5)


@pytest.mark.parametrize("sampler", [*DETERMINISTIC, *RANDOM])
def test_the_gradient_through_all_steps_is_that_of_finite_differences(sampler, noise):
    # With a step of length zero, one without a step before, and one to sigma 0.
    grid = np.concatenate([[80.0], np.geomspace(80.0, 0.01, 5), [0.0]])
    with jax.enable_x64(True):
        noise = noise.astype(jnp.float64)

        @jax.jit
        def loss(spread):
            denoise = functools.partial(gaussian_mixture.denoise, spread=spread)
            image = sampler(denoise, noise, grid, key=jax.random.key(1))
            return jnp.mean((image - 0.2) ** 2)

        gradient = jax.grad(loss)(1.0)
        difference = (loss(1.0 + 1e-5) - loss(1.0 - 1e-5)) / 2e-5
    assert abs(gradient) > 0.01
    assert float(gradient) == pytest.approx(float(difference), rel=1e-5)


def test_the_gradient_to_the_grid_is_finite(noise):
    def loss(grid):
        return jnp.mean(multistep.unipc(gaussian_mixture.denoise, noise, grid) ** 2)

    gradient = jax.grad(loss)(jnp.asarray([80.0, 80.0, 5.0, 0.5, 0.0]))
    assert np.isfinite(gradient).all() and np.abs(gradient[1:4]).min() > 0


@pytest.mark.parametrize("sampler", RANDOM)
def test_with_a_key_an_image_does_not_depend_on_its_batch(sampler, noise):
    keys = jax.random.split(jax.random.key(5), 2)
    grid = np.append(np.geomspace(80.0, 0.002, 4), 0.0)
    both = sampler(gaussian_mixture.denoise, noise, grid, key=keys)
    alone = sampler(gaussian_mixture.denoise, noise[1:], grid, key=keys[1:])
    np.testing.assert_allclose(both[1:], alone, atol=1e-6)
