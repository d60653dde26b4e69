"""MS-SSIM against piq, SSIM and a slow second implementation."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import measure, metrics

from ssimbad_jax.metrics import ms_ssim, ssim

pytestmark = pytest.mark.usefixtures("quick_compilation")

measure_ms_ssim = jax.jit(ms_ssim.ms_ssim)


def noised_shading(size, noise=0.1, batch=2):
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0 : size[0], 0 : size[1]] / max(size)
    shading = np.stack([y / 2 + x / 4, 1 - y, 0.5 + 0.5 * np.sin(9 * x)], axis=-1)
    a = np.stack([shading] * batch).astype(np.float32)
    b = np.clip(a + noise * generator.standard_normal(a.shape), 0, 1).astype(np.float32)
    return jnp.asarray(a), jnp.asarray(b)


def second_implementation(a, b, scales):
    """From scikit-image's maps of SSIM, for one channel and even sizes."""
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    weights = np.array(ms_ssim.WEIGHTS[:scales])
    result = 1.0
    for scale, weight in enumerate(weights / weights.sum()):
        if scale:
            a, b = (measure.block_reduce(x, (2, 2), np.mean) for x in (a, b))
        # A vast K1 leaves no luminance term: contrast times structure remain.
        k1 = 0.01 if scale == scales - 1 else 1e4
        result *= metrics.structural_similarity(a, b, data_range=1, K1=k1, **options) ** weight
    return result


def test_equals_the_golden_values(shared):
    pairs = np.load(shared / "golden" / "metrics.npz")
    rows = json.loads((shared / "golden" / "metrics.json").read_text())
    a, b = (jnp.asarray(pairs[letter], jnp.float32) / 255 for letter in "ab")
    measured = measure_ms_ssim(a, b)
    np.testing.assert_allclose(measured, [row["ms_ssim_piq"] for row in rows], atol=2e-3)


@pytest.mark.parametrize(("size", "scales"), [(16, 1), (32, 2), (64, 3)])
def test_equals_a_second_implementation(size, scales):
    a, b = noised_shading((size, size + 2 * size // 16), batch=1)
    assert ms_ssim.num_scales(*a.shape[1:3]) == scales
    expected = [
        second_implementation(np.float64(a[0, ..., c]), np.float64(b[0, ..., c]), scales)
        for c in range(3)
    ]
    np.testing.assert_allclose(measure_ms_ssim(a, b), [np.mean(expected)], atol=1e-4)


def test_one_scale_is_ssim():
    a, b = noised_shading((16, 20))
    np.testing.assert_allclose(measure_ms_ssim(a, b), ssim.ssim_gaussian(a, b), atol=1e-6)


@pytest.mark.parametrize(
    ("size", "scales"),
    [(11, 1), (20, 1), (21, 2), (32, 2), (40, 2), (41, 3), (64, 3), (81, 4), (161, 5), (2000, 5)],
)
def test_scales_are_as_many_as_the_window_allows(size, scales):
    assert ms_ssim.num_scales(size, 3000) == ms_ssim.num_scales(3000, size) == scales


def test_odd_sizes_reach_the_promised_scale_and_equal_pictures_give_one():
    a, b = noised_shading((21, 41))
    assert ((0 < measure_ms_ssim(a, b)) & (measure_ms_ssim(a, b) < 1)).all()
    np.testing.assert_allclose(measure_ms_ssim(a, a), 1.0, atol=1e-6)


def test_negatives_give_zero_and_a_finite_gradient():
    a, _ = noised_shading((32, 32))
    gradient = jax.jit(jax.value_and_grad(lambda b: measure_ms_ssim(a, b).sum()))
    value, slope = gradient(1 - a)
    assert value == 0 and np.isfinite(slope).all()


def test_following_the_gradient_makes_pictures_similar():
    a, b = noised_shading((32, 32))
    gradient = jax.jit(jax.value_and_grad(lambda b: measure_ms_ssim(a, b).sum()))
    before, slope = gradient(b)
    after, _ = gradient(b + 0.01 * slope / jnp.abs(slope).max())
    assert np.isfinite(slope).all() and after > before + 1e-3
    equal, slope = gradient(a)
    assert equal == pytest.approx(2, abs=1e-5) and np.isfinite(slope).all()


def test_bad_shapes_are_refused():
    with pytest.raises(ValueError, match="11 pixels or more; got 10x20"):
        ms_ssim.ms_ssim(jnp.zeros((1, 10, 20, 3)), jnp.zeros((1, 10, 20, 3)))
    with pytest.raises(ValueError, match="two batches"):
        ms_ssim.ms_ssim(jnp.zeros((1, 20, 20, 3)), jnp.zeros((2, 20, 20, 3)))
