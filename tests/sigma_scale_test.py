import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.diffusion import sigma_scale

pytestmark = pytest.mark.core

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
SATURATING = {"tanh(σ)": np.arctanh, "sigmoid(σ)": lambda u: np.log(u / (1 - u))}
# A curve with a nearly flat foot, a steep middle and a nearly flat end, as calibration makes them.
KNOTS = np.geomspace(SIGMA_MIN, SIGMA_MAX, 60)
TABLE = sigma_scale.tabulated(KNOTS, KNOTS**2 / (KNOTS**2 + 0.1))
SCALES = [*sigma_scale.CANDIDATES.values(), sigma_scale.rational(0.1929), TABLE]

each_scale = pytest.mark.parametrize("scale", SCALES, ids=lambda scale: scale.name)


def test_candidates_have_the_golden_grids(golden):
    grids = json.loads((golden / "phi_grids.json").read_text())
    assert grids.keys() == sigma_scale.CANDIDATES.keys()
    for name, grid in grids.items():
        scale = sigma_scale.CANDIDATES[name]
        u = np.linspace(scale.forward(SIGMA_MIN), scale.forward(SIGMA_MAX), 50)
        sigma = scale.inverse(u)
        assert u.dtype == sigma.dtype == np.float64
        np.testing.assert_allclose(u, grid["u"], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(sigma, grid["sigma"], rtol=1e-5, err_msg=name)


@each_scale
def test_inverse_undoes_forward_in_float64(scale):
    sigma = np.geomspace(SIGMA_MIN, SIGMA_MAX, 5001)
    if scale.name in SATURATING:
        sigma = sigma[sigma < SATURATING[scale.name](sigma_scale.SATURATION)]
    np.testing.assert_allclose(scale.inverse(scale.forward(sigma)), sigma, rtol=1e-11)


@each_scale
def test_inverse_undoes_forward_as_exactly_as_float32_allows(scale):
    sigma = np.geomspace(SIGMA_MIN, SIGMA_MAX, 100_001).astype(np.float32)
    if scale.name in SATURATING:
        sigma = sigma[sigma < 0.99 * SATURATING[scale.name](sigma_scale.SATURATION)]
    returned = np.asarray(jax.jit(lambda s: scale.inverse(scale.forward(s)))(jnp.asarray(sigma)))

    # u is known to one rounding; how far that moves sigma is the slope of the inverse.
    exact = sigma.astype(np.float64)
    u = scale.forward(exact)
    slope = np.abs((scale.forward(exact * 1.0001) - scale.forward(exact / 1.0001)) / (2e-4 * exact))
    if scale is TABLE:
        u, slope = u[1:-1], slope[1:-1]
        exact, returned = exact[1:-1], returned[1:-1]
    rounding = np.finfo(np.float32).eps
    # Those through a logarithm also round log(sigma), which reaches 6.2.
    allowed = 2 * rounding * np.abs(u) / slope + 8 * rounding * exact
    assert np.max(np.abs(returned - exact) / allowed) < 1


@each_scale
def test_jnp_and_numpy_agree(scale):
    sigma = np.geomspace(SIGMA_MIN, SIGMA_MAX, 301)
    u = scale.forward(sigma)
    in_jax = jax.jit(scale.forward)(jnp.asarray(sigma, jnp.float32))
    assert isinstance(in_jax, jax.Array) and in_jax.dtype == jnp.float32
    np.testing.assert_allclose(in_jax, u, rtol=3e-6, atol=1e-6)


@each_scale
def test_scales_are_monotone(scale):
    sigma = np.geomspace(SIGMA_MIN, 5.0, 2001)
    steps = np.diff(scale.forward(sigma))
    assert np.all(steps > 0) or np.all(steps < 0)


def test_saturating_scales_stay_finite_at_one():
    for name, inverse in SATURATING.items():
        scale = sigma_scale.CANDIDATES[name]
        expected = inverse(sigma_scale.SATURATION)
        assert scale.inverse(np.float64(1.0)) == pytest.approx(expected, rel=1e-9)
        assert scale.inverse(jnp.float32(1.0)) == pytest.approx(expected, rel=0.01)


def test_rational_is_one_half_at_c():
    scale = sigma_scale.rational(0.25)
    assert scale.forward(0.25) == 0.5
    assert scale.inverse(0.5) == 0.25
    assert scale.name == "σ / (σ + 0.25)"


@pytest.mark.parametrize("c", [0.0, -0.3, float("nan"), float("inf")])
def test_rational_refuses_bad_c(c):
    with pytest.raises(ValueError, match="must be a positive finite number"):
        sigma_scale.rational(c)


def test_table_passes_through_its_knots_and_clips_outside():
    u = KNOTS**2 / (KNOTS**2 + 0.1)
    np.testing.assert_allclose(TABLE.forward(KNOTS), u, atol=2e-6)
    assert TABLE.forward(np.float64(SIGMA_MIN / 2)) == u[0]
    assert TABLE.inverse(np.float64(2.0)) == pytest.approx(SIGMA_MAX)


def test_table_follows_a_smooth_curve_between_its_knots():
    sigma = np.geomspace(SIGMA_MIN, SIGMA_MAX, 1234)
    np.testing.assert_allclose(TABLE.forward(sigma), sigma**2 / (sigma**2 + 0.1), atol=2e-3)


def test_a_table_takes_whole_numbers():
    ends = TABLE.inverse(TABLE.forward(KNOTS[[0, -1]]))
    u = TABLE.forward(KNOTS[[0, -1]])
    shifted = sigma_scale.tabulated(KNOTS, np.interp(TABLE.forward(KNOTS), u, [0.0, 1.0]))
    np.testing.assert_allclose([shifted.inverse(0), shifted.inverse(1)], ends, rtol=1e-6)


def test_flat_parts_of_a_table_keep_a_finite_inverse():
    # Two plateaus that float32 cannot tell from constants.
    u = np.array([0.0, 1e-12, 0.5, 0.5 + 1e-12, 1.0 - 1e-12, 1.0])
    scale = sigma_scale.tabulated(np.geomspace(SIGMA_MIN, SIGMA_MAX, 6), u)
    sigma = np.asarray(scale.inverse(jnp.linspace(0.0, 1.0, 1001)))
    assert np.all(np.isfinite(sigma)) and np.all(np.diff(sigma) >= 0)
    assert sigma[0] == pytest.approx(SIGMA_MIN) and sigma[-1] == pytest.approx(SIGMA_MAX)


@pytest.mark.parametrize(
    ("sigma", "u", "message"),
    [
        ([0.1, 1.0, 1.0], [0.0, 0.5, 1.0], "sigma_knots must increase strictly"),
        ([0.1, 1.0, 2.0], [0.0, 0.6, 0.5], "u_knots must increase strictly, but entry 2"),
        ([0.1, 1.0], [0.0, float("nan")], "u_knots holds values that are not finite"),
        ([0.0, 1.0], [0.0, 1.0], "must be positive"),
        ([0.1], [0.0], "length of at least 2"),
        ([0.1, 1.0], [0.0, 0.5, 1.0], "one length"),
    ],
)
def test_table_refuses_bad_knots(sigma, u, message):
    with pytest.raises(ValueError, match=message):
        sigma_scale.tabulated(sigma, u)
