import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.diffusion import noise_axis, scale_selection, sigma_scale
from ssimbad_jax.metrics import calibration_plots

AXES = (
    noise_axis.ddpm_axis(),
    noise_axis.edm_axis(0.002, 80.0),
    noise_axis.scale_axis(sigma_scale.rational(0.3), 0.002, 80.0),
)


@pytest.fixture
def curves():
    sigma = np.geomspace(0.002, 80.0, 64)
    c = np.array([[[0.1]], [[0.3]]])
    return scale_selection.SsimCurves(sigma, c / (sigma + c))


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
