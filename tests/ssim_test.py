import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import metrics

from ssimbad_jax.metrics import ssim

DEFINITIONS = {
    "uniform": (ssim.ssim_uniform, {}),
    "gaussian": (
        ssim.ssim_gaussian,
        {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    ),
}
each_definition = pytest.mark.parametrize(
    ("function", "options"), DEFINITIONS.values(), ids=DEFINITIONS.keys()
)


def scikit_image(a, b, options):
    return [
        metrics.structural_similarity(
            x.astype(np.float64), y.astype(np.float64), channel_axis=-1, data_range=1, **options
        )
        for x, y in zip(a, b, strict=True)
    ]


def pictures():
    """Pairs from nearly equal to unrelated: noise, smooth shading, flat bright areas."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:40, 0:53] / 40
    shading = np.stack([y / 2 + x / 4, 1 - y, 0.5 + 0.5 * np.sin(9 * x)], axis=-1)
    flat = np.full((40, 53, 3), 0.97)
    flat[10:20, 10:30] = 0.02
    a = np.stack([shading, shading, flat, flat, flat, generator.random((40, 53, 3))])
    noise = generator.standard_normal(a.shape)
    scale = np.array([0.001, 0.2, 0.0005, 0.01, 80.0, 1.0]).reshape(-1, 1, 1, 1)
    return a.astype(np.float32), np.clip(a + scale * noise, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("function", "name"),
    [(ssim.ssim_uniform, "ssim_uniform7"), (ssim.ssim_gaussian, "ssim_gaussian")],
)
def test_equals_the_golden_values(function, name, shared):
    pairs = np.load(shared / "golden" / "metrics.npz")
    expected = [row[name] for row in json.loads((shared / "golden" / "metrics.json").read_text())]
    a, b = (jnp.asarray(pairs[letter], jnp.float32) / 255 for letter in "ab")
    np.testing.assert_allclose(jax.jit(function)(a, b), expected, rtol=1e-4, atol=1e-5)


@each_definition
def test_equals_scikit_image(function, options):
    a, b = pictures()
    np.testing.assert_allclose(function(a, b), scikit_image(a, b, options), atol=2e-5)


@each_definition
def test_one_channel_and_the_smallest_size(function, options):
    generator = np.random.default_rng(1)
    a, b = generator.random((2, 3, 11, 11, 1), np.float32)
    np.testing.assert_allclose(function(a, b), scikit_image(a, b, options), atol=1e-5)


@each_definition
def test_equal_pictures_give_one(function, options):
    del options
    a, _ = pictures()
    np.testing.assert_allclose(function(a, a), 1.0, atol=1e-6)


@each_definition
def test_is_symmetric(function, options):
    del options
    a, b = pictures()
    np.testing.assert_allclose(function(a, b), function(b, a), atol=1e-6)


@pytest.mark.parametrize(("function", "size"), [(ssim.ssim_uniform, 6), (ssim.ssim_gaussian, 10)])
def test_pictures_smaller_than_the_window_are_refused(function, size):
    for shape in ((1, size, 20, 3), (1, 20, size, 3)):
        with pytest.raises(ValueError, match="at least that high and wide"):
            function(jnp.zeros(shape), jnp.zeros(shape))


@each_definition
def test_bad_shapes_are_refused(function, options):
    del options
    for first, second in (((1, 20, 20, 3), (2, 20, 20, 3)), ((20, 20, 3), (20, 20, 3))):
        with pytest.raises(ValueError, match="two batches"):
            function(jnp.zeros(first), jnp.zeros(second))
