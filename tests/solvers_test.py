"""How a trained network samples."""

import jax
import numpy as np
import pytest

from ssimbad_jax.data import conditions
from ssimbad_jax.stages import components, solvers
from tests import tiny_run


@pytest.fixture
def config(prepared_dir):
    return tiny_run.make_config(prepared_dir)


def test_a_sub_grid_walks_points_of_the_long_grid(config, tmp_path):
    config.calibrate.scale = "rational"
    schedule = components.noise_schedule(config, tmp_path)
    config.eval.sampler_steps = 5
    short = solvers.sigma_grid(config, schedule)
    config.eval.grid_steps, config.eval.sampler_steps = 50, 10
    walked = solvers.sigma_grid(config, schedule)
    config.eval.sampler_steps = 50
    long = solvers.sigma_grid(config, schedule)
    assert len(short) == 6 and len(walked) == 11 and len(long) == 51
    np.testing.assert_array_equal(walked, long[::5])
    for grid in (short, walked, long):
        assert grid.dtype == np.float64 and (np.diff(grid) < 0).all()
        assert grid[0] == pytest.approx(80.0) and grid[-1] == 0.0


def test_the_sampler_does_not_need_the_truth(config, tmp_path):
    """Noise, condition and key decide; the result is a picture batch."""
    schedule = components.noise_schedule(config, tmp_path)
    params = jax.jit(lambda key: components.init_params(config, key))(jax.random.key(0))
    sample = jax.jit(solvers.sample(config, schedule))
    noise = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    condition = jax.random.uniform(jax.random.key(2), (2, 16, 16, 4))
    first = sample(params, noise, condition, jax.random.key(3))
    assert first.shape == (2, 16, 16, 3) and np.isfinite(first).all()
    other = sample(params, noise, -condition, jax.random.key(3))
    assert (conditions.to_uint8(first) != conditions.to_uint8(other)).any()


@pytest.mark.parametrize("name", solvers.SOLVERS)
def test_a_solver_calls_the_network_as_often_as_it_says(name, config):
    config.eval.sampler = name
    solver, calls = solvers.SOLVERS[name], []

    def denoise(noisy, sigma):
        jax.debug.callback(lambda: calls.append(1), ordered=True)
        return noisy * (0.25 / (0.25 + sigma**2))[:, None, None, None]

    noise = jax.random.normal(jax.random.key(0), (1, 2, 2, 3))
    grid = np.append(np.geomspace(80, 0.01, 5), 0)
    options = solver.options(config.eval)
    with jax.default_device(jax.devices()[0]):
        result = solver.sampler(denoise, noise, grid, key=jax.random.key(1), **options)
        jax.block_until_ready(result)
        jax.effects_barrier()
    assert len(calls) == solver.network_calls(5)
    assert np.isfinite(result).all()
