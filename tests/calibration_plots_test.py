import numpy as np
import PIL.Image
import pytest
from matplotlib import figure
from scipy import stats

from ssimbad_jax.diffusion import noise_axis, scale_selection, sigma_scale
from ssimbad_jax.metrics import calibration_plots

AXES = (
    noise_axis.ddpm_axis(),
    noise_axis.edm_axis(0.002, 80.0),
    noise_axis.scale_axis(sigma_scale.rational(0.3), 0.002, 80.0),
)


def ssim(sigma):
    """One draw of two pictures, with a plateau beyond the measured range."""
    c = np.array([[[0.1], [0.3]]])
    return c / (np.clip(sigma, 0.002, 80.0) + c)


@pytest.fixture
def curves():
    sigma = np.geomspace(0.002, 80.0, 64)
    return scale_selection.SsimCurves(sigma, ssim(sigma))


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


def test_every_axis_is_drawn_with_its_r2(curves, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda picture, *_, **__: saved.append(picture))
    r2_of_scales = {"table": 0.9876, "log(σ)": 0.1234}
    calibration_plots.plot_ssim(tmp_path / "ssim.png", AXES, curves, r2_of_scales)
    left, right = saved[0].axes

    shown = [text.get_text() for text in left.get_legend().get_texts()]
    lines = {line.get_label(): line for line in left.lines}
    fits = [line for line in left.lines if line.get_linestyle() == "--"]
    for axis, label, fit in zip(AXES, shown, fits, strict=True):
        fifty = ssim(axis.levels(50))[0]
        r2 = [np.corrcoef(np.arange(50), values)[0, 1] ** 2 for values in fifty]
        assert label == f"{axis.name}   $R^2$ = {np.mean(r2):.3f}"
        u, drawn = lines[label].get_data()
        mean = ssim(axis.levels(len(u))).mean(axis=(0, 1))
        np.testing.assert_allclose(u, np.linspace(0, 1, len(u)))
        np.testing.assert_allclose(drawn, mean, atol=1e-4)
        line = stats.linregress(u, mean)
        np.testing.assert_allclose(fit.get_ydata(), line.intercept + line.slope * u, atol=1e-4)
        assert fit.get_color() == lines[label].get_color()

    # From the bottom up.
    assert [label.get_text() for label in right.get_yticklabels()] == ["log(σ)", "table"]
    assert [bar.get_width() for bar in right.patches] == [0.1234, 0.9876]
    assert [text.get_text() for text in right.texts] == ["0.123", "0.988"]
