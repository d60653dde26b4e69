import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.diffusion import scale_selection, schedule, sigma_scale
from ssimbad_jax.metrics import calibration_plots

AXES = (
    calibration_plots.ddpm_axis(),
    calibration_plots.edm_axis(0.002, 80.0),
    calibration_plots.scale_axis(sigma_scale.rational(0.3), 0.002, 80.0),
)


@pytest.fixture
def curves():
    sigma = np.geomspace(0.002, 80.0, 64)
    c = np.array([[[0.1]], [[0.3]]])
    return scale_selection.SsimCurves(sigma, c / (sigma + c))


def test_ddpm_axis_is_anime_diffusions_table(golden):
    gamma = np.load(golden / "anime_diffusion.npz")["gammas"].astype(np.float64)
    sigma = AXES[0].sigma(np.linspace(0, 1, len(gamma)))
    np.testing.assert_allclose(1 / (1 + sigma**2), gamma, rtol=1e-4)


def test_other_axes_are_the_schedules_grids():
    u = np.linspace(1, 0, 50)
    np.testing.assert_allclose(AXES[1].sigma(u), schedule.edm().sigma_grid(50)[:-1])
    ssimbad = schedule.ssimbad(sigma_scale.rational(0.3))
    np.testing.assert_allclose(AXES[2].sigma(u), ssimbad.sigma_grid(50)[:-1])


def test_r2_of_an_axis_is_that_of_its_scale(curves):
    expected = scale_selection.scale_r2(sigma_scale.rational(0.3), curves).mean()
    assert calibration_plots.axis_r2(AXES[2], curves) == pytest.approx(expected, rel=1e-9)


def test_pictures_are_drawn(curves, tmp_path):
    calibration_plots.plot_ssim(tmp_path / "ssim.png", AXES, curves, {"σᵖ / (σᵖ + 1)": 0.7})
    image = np.full((16, 16, 3), (250, 20, 20), np.uint8)
    calibration_plots.plot_noise_levels(tmp_path / "noise.png", AXES, image, curves.mean(), seed=0)
    for name in ("ssim.png", "noise.png"):
        with PIL.Image.open(tmp_path / name) as picture:
            assert picture.width > 800
            assert len(picture.convert("RGB").getcolors(10**7)) > 100
    # The clean picture is among the cells, in its own colour.
    pixels = np.asarray(PIL.Image.open(tmp_path / "noise.png").convert("RGB")).astype(int)
    assert np.sum(np.abs(pixels - (250, 20, 20)).max(axis=-1) <= 3) > 1000
