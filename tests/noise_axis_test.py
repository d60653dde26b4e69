"""Noise axes against the schedules they are those of."""

import numpy as np
import pytest

from ssimbad_jax.diffusion import noise_axis, scale_selection, schedule, sigma_scale

SCALE = sigma_scale.rational(0.3)


def test_ddpm_axis_is_anime_diffusions_table(golden):
    gamma = np.load(golden / "anime_diffusion.npz")["gammas"].astype(np.float64)
    axis = noise_axis.ddpm_axis()
    np.testing.assert_allclose(1 / (1 + axis.levels(len(gamma)) ** 2), gamma, rtol=1e-4)
    table = schedule.ddpm().sigma_grid(999)[::-1]
    np.testing.assert_allclose(axis.levels(1000), table, rtol=1e-12)
    # Half-way between two time indices, in ln sigma.
    between = axis.levels(1999)[1::2]
    np.testing.assert_allclose(between, np.sqrt(table[1:] * table[:-1]), rtol=1e-9)


def test_other_axes_are_the_schedules_grids():
    """Against the formulas of Karras et al. 2022, equation 5, and of phi."""
    u = np.linspace(0.0, 1.0, 50)
    low, high = 0.002 ** (1 / 7), 80.0 ** (1 / 7)
    edm = noise_axis.edm_axis(0.002, 80.0)
    np.testing.assert_allclose(edm.levels(50), (low + u * (high - low)) ** 7, rtol=1e-9)
    low, high = SCALE.forward(0.002), SCALE.forward(80.0)
    ssimbad = noise_axis.scale_axis(SCALE, 0.002, 80.0)
    np.testing.assert_allclose(ssimbad.levels(50), SCALE.inverse(low + u * (high - low)), rtol=1e-9)
    assert ssimbad.name == f"SSIMBaD, {SCALE.name}"


@pytest.mark.parametrize("count", [2, 9, 200])
def test_levels_increase_from_end_to_end(count):
    for axis in (noise_axis.edm_axis(0.01, 5.0), noise_axis.scale_axis(SCALE, 0.01, 5.0)):
        levels = axis.levels(count)
        assert levels.shape == (count,) and (np.diff(levels) > 0).all()
        np.testing.assert_allclose(levels[[0, -1]], [0.01, 5.0], rtol=1e-9)
    assert (np.diff(noise_axis.ddpm_axis().levels(count)) > 0).all()


def test_r2_of_an_axis_is_that_of_its_scale():
    sigma = np.geomspace(0.002, 80.0, 64)
    curves = scale_selection.SsimCurves(sigma, 0.1 / (sigma + 0.1))
    expected = scale_selection.scale_r2(SCALE, curves).mean()
    axis = noise_axis.scale_axis(SCALE, 0.002, 80.0)
    assert noise_axis.axis_r2(axis, curves) == pytest.approx(expected, rel=1e-9)


def test_ends_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="choose 0 < sigma_min < sigma_max"):
        noise_axis.edm_axis(1.0, 1.0)
