import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.diffusion import schedule, sigma_scale

pytestmark = pytest.mark.core


@pytest.fixture
def ssimbad():
    return schedule.ssimbad(sigma_scale.rational(0.3))


def test_grid_is_the_golden_one(ssimbad, golden):
    grid = ssimbad.sigma_grid(12)
    assert grid.dtype == np.float64 and grid.shape == (13,)
    np.testing.assert_allclose(grid, np.load(golden / "denoiser.npz")["sigma_grid"], rtol=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 50])
@pytest.mark.parametrize(
    "made",
    [
        schedule.edm(),
        *(schedule.ssimbad(scale) for scale in sigma_scale.CANDIDATES.values()),
        schedule.ssimbad(sigma_scale.tabulated([0.002, 0.1, 80.0], [0.0, 0.4, 1.0])),
    ],
)
def test_grids_descend_within_the_range_to_zero(made, steps):
    grid = made.sigma_grid(steps)
    assert len(grid) == steps + 1 and grid[-1] == 0.0
    assert np.all(np.diff(grid) < 0)
    assert grid[0] <= made.sigma_max and grid[-2] >= made.sigma_min
    if steps > 1:
        assert grid[-2] == pytest.approx(made.sigma_min)


def test_edm_grid_is_equation_5_of_karras():
    steps, rho = 18, 7
    i = np.arange(steps)
    expected = (80 ** (1 / rho) + i / (steps - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    np.testing.assert_allclose(schedule.edm().sigma_grid(steps)[:-1], expected, rtol=1e-12)


def test_ssimbad_draws_u_uniformly(ssimbad):
    sigma = np.asarray(ssimbad.sample_sigma(jax.random.key(0), (20_000,)))
    assert sigma.min() >= ssimbad.sigma_min and sigma.max() <= ssimbad.sigma_max
    u = sigma / (sigma + 0.3)
    low, high = 0.002 / 0.302, 80 / 80.3
    counts, _ = np.histogram(u, bins=20, range=(low, high))
    # Expected 1,000 in each bin, with a standard deviation of 31.
    assert counts.sum() == 20_000 and np.all(np.abs(counts - 1000) < 150)


@pytest.mark.parametrize("name", ["1/σ", "1/σ²", "tanh(σ)", "log(σ)"])
def test_every_kind_of_scale_draws_within_the_range(name):
    made = schedule.ssimbad(sigma_scale.CANDIDATES[name])
    sigma = np.asarray(jax.jit(made.sample_sigma, static_argnums=1)(jax.random.key(1), (4000,)))
    assert sigma.min() >= np.float32(0.002) and sigma.max() <= 80.0
    assert np.unique(sigma).size > 2000


def test_edm_draws_a_log_normal():
    log_sigma = np.log(schedule.edm().sample_sigma(jax.random.key(0), (20_000,)))
    assert log_sigma.mean() == pytest.approx(-1.2, abs=0.04)
    assert log_sigma.std() == pytest.approx(1.2, abs=0.03)


def test_networks_are_told_the_papers_embedding(ssimbad):
    sigma = jnp.asarray([0.002, 0.3, 80.0])
    np.testing.assert_allclose(ssimbad.embed_sigma(sigma), sigma / (sigma + 0.3), rtol=1e-6)
    np.testing.assert_allclose(schedule.edm().embed_sigma(sigma), np.log(sigma) / 4, rtol=1e-6)


def test_draws_depend_on_the_key_alone(ssimbad):
    for made in (ssimbad, schedule.edm()):
        first, again, other = (made.sample_sigma(jax.random.key(k), (8,)) for k in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert not np.any(np.asarray(first) == np.asarray(other))


def test_sub_grid_takes_the_points_of_the_official_code():
    grid = np.arange(51.0)[::-1]
    np.testing.assert_array_equal(schedule.sub_grid(grid, 10), grid[::5])
    np.testing.assert_array_equal(schedule.sub_grid(grid, 50), grid)
    np.testing.assert_array_equal(schedule.sub_grid(grid, 1), [50.0, 0.0])
    twelve = np.arange(13)
    np.testing.assert_array_equal(schedule.sub_grid(twelve, 5), [0, 2, 4, 7, 9, 12])


@pytest.mark.parametrize("steps", [0, 13])
def test_sub_grid_refuses_steps_it_does_not_have(steps):
    with pytest.raises(ValueError, match="has 1 to 12 to walk"):
        schedule.sub_grid(np.arange(13.0), steps)


@pytest.mark.parametrize("sigma_range", [(0.0, 80.0), (1.0, 1.0), (80.0, 0.002)])
def test_bad_ranges_are_refused(sigma_range):
    for make in (
        lambda: schedule.edm(*sigma_range),
        lambda: schedule.ssimbad(sigma_scale.rational(0.3), *sigma_range),
    ):
        with pytest.raises(ValueError, match="choose 0 < sigma_min < sigma_max"):
            make()


def test_a_grid_may_start_from_a_smaller_sigma(ssimbad):
    """It is as even in the schedule's own scale as the whole one."""
    for made, forward in (
        (ssimbad, lambda sigma: sigma / (sigma + 0.3)),
        (schedule.edm(), lambda sigma: sigma ** (1 / 7)),
    ):
        grid = made.sigma_grid(5, 2.0)
        assert grid[0] == pytest.approx(2.0) and grid[-1] == 0.0
        u = forward(grid[:-1])
        expected = np.linspace(forward(2.0), forward(0.002), 5)
        np.testing.assert_allclose(u, expected, rtol=1e-9)
        np.testing.assert_array_equal(made.sigma_grid(5, 80.0), made.sigma_grid(5))
        for start in (0.002, 80.1):
            with pytest.raises(ValueError, match=f"start is {start}; a grid starts above sigma_m"):
                made.sigma_grid(5, start)


def test_other_bad_arguments_are_refused(ssimbad):
    with pytest.raises(ValueError, match="rho is 0"):
        schedule.edm(rho=0)
    with pytest.raises(ValueError, match="p_std is -1"):
        schedule.edm(p_std=-1)
    for made in (ssimbad, schedule.edm()):
        with pytest.raises(ValueError, match="needs at least 1 step"):
            made.sigma_grid(0)


def test_ddpm_walks_evenly_spaced_indices():
    made = schedule.ddpm()
    table = made.sigma_grid(999)[::-1]
    grid = made.sigma_grid(10)
    np.testing.assert_array_equal(grid, table[[901, 801, 701, 601, 501, 401, 301, 201, 101, 1, 0]])
    assert grid.dtype == np.float64
    # From a lower start the same number of steps covers what is left.
    lower = made.sigma_grid(4, table[400])
    np.testing.assert_array_equal(lower, table[[301, 201, 101, 1, 0]])


def test_ddpm_draws_its_levels_evenly_and_tells_their_index():
    made = schedule.ddpm(num_levels=8, beta_first=0.01, beta_last=0.2)
    sigma = made.sample_sigma(jax.random.key(0), (8000,))
    index = np.asarray(made.embed_sigma(sigma))
    np.testing.assert_allclose(index, np.rint(index), atol=1e-4)
    counts = np.bincount(np.rint(index).astype(int), minlength=8)
    assert np.all(np.abs(counts - 1000) < 150)  # standard deviation 30
    assert float(made.embed_sigma(jnp.sqrt(sigma.min() * sigma.max()))) % 1 > 0.01
    # What walks start with has the variance of x_t = noise.
    assert float(made.start_scale(3.0)) == pytest.approx(10**0.5)
    assert float(schedule.edm().start_scale(3.0)) == 3.0


@pytest.mark.parametrize("fields", [(1, 1e-6, 1e-2), (10, 0.0, 0.1), (10, 0.2, 0.1), (10, 0.1, 1)])
def test_ddpm_refuses_betas_that_are_none(fields):
    with pytest.raises(ValueError, match="beta_first"):
        schedule.ddpm(*fields)


def test_ddpm_refuses_more_steps_than_levels():
    with pytest.raises(ValueError, match="steps is 1000; there are 999"):
        schedule.ddpm().sigma_grid(1000)


def test_a_single_noise_level_is_one_step():
    made = schedule.single(40.0)
    np.testing.assert_array_equal(made.sigma_grid(1), [40.0, 0.0])
    np.testing.assert_array_equal(made.sample_sigma(jax.random.key(0), (3,)), 40.0)
    np.testing.assert_array_equal(made.embed_sigma(jnp.full(3, 40.0)), 0.0)
    for steps, start in ((2, 40.0), (1, 20.0)):
        with pytest.raises(ValueError, match="has 1 step"):
            made.sigma_grid(steps, start)
    with pytest.raises(ValueError, match="must be positive"):
        schedule.single(0.0)
