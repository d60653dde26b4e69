import json

import jax.numpy as jnp
import numpy as np
import pytest
from skimage import metrics

from ssimbad_jax.metrics import psnr


def test_equals_the_golden_values(shared):
    pairs = np.load(shared / "golden" / "metrics.npz")
    expected = [row["psnr"] for row in json.loads((shared / "golden" / "metrics.json").read_text())]
    a, b = (jnp.asarray(pairs[name], jnp.float32) / 255 for name in "ab")
    np.testing.assert_allclose(psnr.psnr(a, b), expected, rtol=1e-4)


def test_equals_scikit_image():
    generator = np.random.default_rng(0)
    a = generator.random((3, 9, 14, 3), np.float32)
    b = generator.random((3, 9, 14, 3), np.float32)
    expected = [
        metrics.peak_signal_noise_ratio(x, y, data_range=1) for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(psnr.psnr(a, b), expected, rtol=1e-5)


def test_known_values():
    a = jnp.zeros((1, 4, 4, 3))
    np.testing.assert_allclose(psnr.psnr(a, a + 0.1), [20.0], rtol=1e-5)
    assert np.isposinf(psnr.psnr(a, a)[0])


def test_aligned_it_is_that_of_the_picture_without_its_tint():
    generator = np.random.default_rng(0)
    target = generator.random((3, 9, 14, 3), np.float32)
    error = 0.1 * generator.standard_normal(target.shape).astype(np.float32)
    error -= error.mean(axis=(1, 2), keepdims=True)
    tint = np.array([0.2, -0.1, 0.05], np.float32)
    aligned = psnr.psnr_mean_aligned(jnp.asarray(target + error + tint), jnp.asarray(target))
    np.testing.assert_allclose(aligned, psnr.psnr(target + error, target), rtol=1e-4)
    assert (aligned > psnr.psnr(target + error + tint, target) + 3).all()
    only_tint = psnr.psnr_mean_aligned(jnp.asarray(target + tint), jnp.asarray(target))
    assert (only_tint > 100).all()


@pytest.mark.parametrize("function", [psnr.psnr, psnr.psnr_mean_aligned])
@pytest.mark.parametrize("shapes", [((1, 4, 4, 3), (2, 4, 4, 3)), ((4, 4, 3), (4, 4, 3))])
def test_bad_shapes_are_refused(shapes, function):
    with pytest.raises(ValueError, match="two batches"):
        function(*(jnp.zeros(shape) for shape in shapes))
