import numpy as np
import pytest
from scipy import stats

from ssimbad_jax.diffusion import scale_selection, sigma_scale

SIGMAS = np.geomspace(0.002, 80.0, 128)


def falling(c, sigma=SIGMAS):
    """A curve that the rational scale of this c makes straight."""
    return 1.0 - sigma / (sigma + c)


@pytest.fixture
def curves():
    """Two draws of three pictures, shape [2, 3, S]."""
    return scale_selection.SsimCurves(
        SIGMAS, np.stack([[falling(c) for c in row] for row in ((0.1, 0.2, 0.5), (0.3, 0.2, 0.4))])
    )


def test_r_squared_is_that_of_linear_regression():
    generator = np.random.default_rng(0)
    u = np.sort(generator.random(30))
    values = -u + 0.3 * generator.standard_normal((2, 3, 30))
    expected = [[stats.linregress(u, row).rvalue ** 2 for row in block] for block in values]
    np.testing.assert_allclose(scale_selection.r_squared(u, values), expected, rtol=1e-10)
    assert scale_selection.r_squared(u, np.ones(30)) == 1.0


def test_interpolation_between_the_common_noise_levels_is_accurate(curves):
    between = np.geomspace(0.002, 80.0, 999)
    expected = falling(np.array([[0.1, 0.2, 0.5], [0.3, 0.2, 0.4]])[..., None], between)
    np.testing.assert_allclose(curves.at(between), expected, atol=1e-5)
    # Outside the range the ends count.
    np.testing.assert_allclose(
        curves.at(np.array([1e-4, 200.0])), curves.ssim[..., [0, -1]], atol=1e-5
    )


def test_fitted_curves_average_the_noise_of_the_levels():
    sigma = np.geomspace(0.002, 80.0, 256)
    noise = 0.01 * np.random.default_rng(0).standard_normal((50, 256))
    noisy = scale_selection.SsimCurves(sigma, falling(0.2, sigma) + noise)
    error = noisy.at(sigma) - falling(0.2, sigma)
    # 35 coefficients are fitted to 256 values: the rest of the noise is gone.
    assert error.std() == pytest.approx(0.01 * np.sqrt(35 / 256), rel=0.05)
    assert abs(error.mean()) < 1e-4


def test_r2_of_every_scale_survives_the_common_grid():
    exact = scale_selection.SsimCurves(
        np.geomspace(0.002, 80.0, 4001), falling(0.25, np.geomspace(0.002, 80.0, 4001))
    )
    coarse = scale_selection.SsimCurves(SIGMAS, falling(0.25))
    for scale in sigma_scale.CANDIDATES.values():
        difference = scale_selection.scale_r2(scale, exact) - scale_selection.scale_r2(
            scale, coarse
        )
        assert abs(difference) < 1e-5, scale.name


def test_the_straightening_scale_has_r2_of_one():
    curve = scale_selection.SsimCurves(SIGMAS, falling(0.3))
    r2 = {
        name: float(scale_selection.scale_r2(scale, curve))
        for name, scale in sigma_scale.CANDIDATES.items()
    }
    assert max(r2, key=r2.get) == "σ / (σ + 0.3)"
    assert r2["σ / (σ + 0.3)"] == pytest.approx(1.0, abs=1e-7)
    assert r2["log(σ)"] < 0.95


@pytest.mark.parametrize("c", [0.004, 0.1234, 0.7, 20.0])
def test_best_c_is_found(c):
    assert scale_selection.best_c(scale_selection.SsimCurves(SIGMAS, falling(c))) == pytest.approx(
        c, rel=1e-3
    )


def test_best_c_beats_every_candidate(curves):
    best = sigma_scale.rational(scale_selection.best_c(curves))
    r2 = scale_selection.scale_r2(best, curves).mean()
    for tenths in range(1, 11):
        candidate = sigma_scale.rational(tenths / 10)
        assert r2 >= scale_selection.scale_r2(candidate, curves).mean()


def test_table_makes_the_mean_linear(curves):
    table = sigma_scale.tabulated(*scale_selection.linear_table(curves))
    assert table.forward(0.002) == 0.0 and table.forward(80.0) == 1.0
    assert scale_selection.scale_r2(table, curves.mean()) > 1 - 1e-8


def test_table_of_a_noisy_curve_is_monotone_and_nearly_linear():
    noise = 0.02 * np.random.default_rng(0).standard_normal(SIGMAS.shape)
    noisy = scale_selection.SsimCurves(SIGMAS, falling(0.3) + noise)
    sigma, u = scale_selection.linear_table(noisy)
    assert np.all(np.diff(sigma) > 0) and np.all(np.diff(u) > 0)
    assert (sigma[0], sigma[-1], u[0], u[-1]) == (0.002, 80.0, 0.0, 1.0)
    table = sigma_scale.tabulated(sigma, u)
    smooth = scale_selection.SsimCurves(SIGMAS, falling(0.3))
    assert scale_selection.scale_r2(table, smooth) > 0.98


def test_bad_curves_are_refused():
    with pytest.raises(ValueError, match="at least 4 noise levels"):
        scale_selection.SsimCurves(SIGMAS[:3], SIGMAS[:3])
    with pytest.raises(ValueError, match="one value at each"):
        scale_selection.SsimCurves(SIGMAS, np.ones(7))
    with pytest.raises(ValueError, match="positive and increasing"):
        scale_selection.SsimCurves(SIGMAS[::-1], falling(0.3))
    with pytest.raises(ValueError, match="too little to make it linear"):
        scale_selection.linear_table(scale_selection.SsimCurves(SIGMAS, np.ones(SIGMAS.shape)))
