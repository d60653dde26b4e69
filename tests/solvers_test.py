"""How a trained network samples."""

import jax
import numpy as np
import pytest

from ssimbad_jax.stages import components, solvers
from tests import gaussian_mixture, tiny_run


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


def test_few_steps_of_heun_are_cautioned_against(config):
    assert solvers.caution(config) == ""
    config.eval.update(sampler="heun", sampler_steps=5)
    assert "and 5 steps are few; take 25 or more, or euler" in solvers.caution(config)
    config.eval.sampler_steps = 25
    assert solvers.caution(config) == ""


@pytest.fixture
def exact_network(monkeypatch):
    """Puts a denoiser that counts its calls into `[0]` in the place of the network's."""
    calls = [0]

    def denoise(params, noisy, sigma, condition):
        jax.debug.callback(lambda: calls.__setitem__(0, calls[0] + 1), ordered=True)
        return gaussian_mixture.denoise(noisy, sigma)

    monkeypatch.setattr(components, "denoise_with_params", lambda *_: denoise)
    return calls


def test_a_start_from_the_posterior_mean(config, tmp_path, exact_network):
    config.eval.sampler, config.eval.sampler_steps = "unipc", 3
    config.eval.start_sigma, config.eval.posterior_draws = 0.5, 2
    schedule = components.noise_schedule(config, tmp_path)
    grid = solvers.sigma_grid(config, schedule)
    assert grid[0] == pytest.approx(0.5) and len(grid) == 4
    noise, key = jax.random.normal(jax.random.key(0), (1, 4, 4, 3)), jax.random.key(1)
    with jax.default_device(jax.devices()[0]):
        image = solvers.sample(config, schedule)(None, noise, None, key)
        jax.block_until_ready(image)
        jax.effects_barrier()
        assert exact_network[0] == solvers.network_calls(config, schedule) == 5
        mean = solvers.posterior_mean(config, schedule)(None, noise, None, key)
        passed = solvers.trajectory(config, schedule)(None, noise, None, key)
    np.testing.assert_allclose(passed.denoised[-1], image, atol=1e-5)
    renoised = (passed.state[0] - mean) / 0.5
    assert renoised.std() == pytest.approx(1.0, abs=0.3)
    assert np.abs(renoised - noise).max() > 0.5, "the noise is not that of the mean"


def test_the_posterior_mean_is_one_call_at_sigma_max(config, tmp_path, exact_network):
    config.calibrate.scale, config.diffusion.sigma_max = "rational", 20.0
    schedule = components.noise_schedule(config, tmp_path)
    noise = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
    result = solvers.posterior_mean(config, schedule)(None, noise, None, jax.random.key(1))
    expected = gaussian_mixture.denoise(20.0 * noise, np.full(2, 20.0))
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_a_start_on_a_sub_grid(config, tmp_path):
    config.eval.start_sigma = 2.0
    config.eval.grid_steps, config.eval.sampler_steps = 50, 50
    schedule = components.noise_schedule(config, tmp_path)
    long = solvers.sigma_grid(config, schedule)
    config.eval.sampler_steps = 5
    np.testing.assert_array_equal(solvers.sigma_grid(config, schedule), long[::10])
    assert long[0] == pytest.approx(2.0)


def test_names_tell_what_a_row_is(config):
    assert solvers.name(config) == "euler-2"
    config.eval.sampler, config.eval.start_sigma = "dpmpp_2m", 2.0
    assert solvers.name(config) == "dpmpp_2m-2 from sigma 2"


def test_options_have_their_users(config):
    assert solvers.users("churn", config.eval) == ["heun", "euler"]
    assert solvers.users("eta", config.eval) == ["ddim"]


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
