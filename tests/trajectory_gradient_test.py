"""Gradients through all steps of a solver: exact, and in the memory of one step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssimbad_jax.diffusion import losses, samplers, schedule, trajectory_gradient
from tests import golden_network

GRID = np.append(np.geomspace(20.0, 0.05, 6), 0.0)
NOISE = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))


def final_state(parameter, walk, sampler=samplers.euler, grid=GRID):
    """A denoiser of one parameter, strongly nonlinear in x."""

    def denoise(x, sigma):
        return jnp.tanh(parameter * x / (1.0 + sigma[:, None, None, None]))

    return sampler(denoise, NOISE, grid, walk=walk)


def loss(parameter, walk, sampler=samplers.euler, grid=GRID):
    return jnp.mean(final_state(parameter, walk, sampler, grid) ** 2)


@pytest.mark.parametrize("name", ["denoiser", "denoiser_cbam"])
def test_refinement_equals_official(golden, name):
    case = golden_network.load(golden, name)
    grid = case.arrays["sigma_grid"].astype(np.float64)
    sub_grid = schedule.sub_grid(grid, 5)

    def loss_and_image(params):
        image = samplers.euler(
            lambda noisy, sigma: case.denoise(params, noisy, sigma),
            case.noise,
            sub_grid,
            walk=trajectory_gradient.rematerialised_walk(),
        )
        paper = [(1.0, losses.clipped_squared_error)]
        return losses.refinement_loss(image, case.image, paper).mean(), image

    (value, image), gradient = jax.jit(jax.value_and_grad(loss_and_image, has_aux=True))(
        case.params
    )
    golden_network.assert_close(image, case.arrays["refine_final"], 1e-3)
    np.testing.assert_allclose(value, case.arrays["refine_loss_clamped_mse"], rtol=1e-3)
    np.testing.assert_allclose(
        optax.tree.norm(gradient), case.arrays["refine_grad_norm"], rtol=1e-3
    )


@pytest.mark.parametrize("sampler", [samplers.euler, samplers.heun])
def test_the_gradient_is_that_of_the_plain_walk(sampler):
    parameter = jnp.float32(1.3)
    remembered = trajectory_gradient.rematerialised_walk()
    for function in (final_state, jax.jacrev(final_state)):
        np.testing.assert_allclose(
            function(parameter, remembered, sampler),
            function(parameter, samplers.walk, sampler),
            rtol=1e-5,
            atol=1e-6,
        )


def test_steps_before_the_first_with_gradient_count_as_constant():
    """The truncated gradient is that of the last steps, from a fixed state."""
    parameter, first = jnp.float32(1.3), 4
    state = samplers.trajectory(
        samplers.euler,
        lambda x, sigma: jnp.tanh(parameter * x / (1.0 + sigma[:, None, None, None])),
        NOISE,
        GRID,
    ).state[first]

    def of_the_last(parameter):
        def denoise(x, sigma):
            return jnp.tanh(parameter * x / (1.0 + sigma[:, None, None, None]))

        x = samplers.euler(denoise, state / GRID[first], GRID[first:])
        return jnp.mean(x**2)

    truncated = trajectory_gradient.rematerialised_walk(first_with_gradient=first)
    value, gradient = jax.value_and_grad(loss)(parameter, truncated)
    np.testing.assert_allclose(value, loss(parameter, samplers.walk), rtol=1e-6)
    np.testing.assert_allclose(gradient, jax.grad(of_the_last)(parameter), rtol=1e-4)
    assert gradient != pytest.approx(float(jax.grad(loss)(parameter, samplers.walk)), rel=1e-3)
    traced = jax.jit(
        jax.grad(
            lambda parameter, first: loss(
                parameter, trajectory_gradient.rematerialised_walk(0, first)
            )
        )
    )
    np.testing.assert_allclose(traced(parameter, first), gradient, rtol=1e-5)
    full = jax.grad(loss)(parameter, samplers.walk)
    np.testing.assert_allclose(traced(parameter, 0), full, rtol=1e-4)


@pytest.mark.parametrize("sampler", [samplers.euler, samplers.heun])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_padded_grid_walks_the_short_one(sampler, steps):
    """One compiled program for all lengths, values and gradients."""
    short = np.append(np.geomspace(20.0, 0.05, steps), 0.0)
    padded = trajectory_gradient.padded_grid(short, 5)
    assert padded.shape == (6,) and (np.diff(padded)[: 5 - steps] == 0).all()

    @jax.jit
    @jax.value_and_grad
    def of_padded(parameter, grid, first):
        walk = trajectory_gradient.rematerialised_walk(first, 0)
        return loss(parameter, walk, sampler, grid)

    expected = jax.value_and_grad(loss)(jnp.float32(1.3), samplers.walk, sampler, short)
    actual = of_padded(jnp.float32(1.3), padded, 5 - steps)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_skipped_steps_do_not_call_the_network():
    calls = []

    def denoise(x, sigma):
        jax.debug.callback(lambda: calls.append(1))
        return 0.5 * x

    padded = trajectory_gradient.padded_grid(np.array([10.0, 1.0, 0.0]), 7)
    walk = trajectory_gradient.rematerialised_walk(5, 6)
    with jax.default_device(jax.devices()[0]):
        jax.block_until_ready(samplers.euler(denoise, NOISE, padded, walk=walk))
        jax.effects_barrier()
    assert len(calls) == 2


def temporary_bytes(steps, walk):
    """XLA's temporary memory of the gradient through a wide denoiser."""
    kernel = jnp.ones((3, 256), jnp.float32)
    grid = jnp.asarray(np.append(np.geomspace(20.0, 0.05, steps), 0.0), jnp.float32)
    noise = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)

    def loss(kernel, noise):
        def denoise(x, sigma):
            return jnp.tanh(jnp.tanh(x @ kernel) @ kernel.T)

        return jnp.mean(samplers.euler(denoise, noise, grid, walk=walk) ** 2)

    compiled = jax.jit(jax.grad(loss)).lower(kernel, noise).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_more_steps_cost_one_state_each():
    state = 2 * 32 * 32 * 3 * 4
    few, many = (
        temporary_bytes(steps, trajectory_gradient.rematerialised_walk()) for steps in (5, 50)
    )
    assert many <= 1.15 * few + 45 * state
    plain = temporary_bytes(50, samplers.walk)
    assert plain > 10 * many
