import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.data import sketch

# Compiled as in training; op by op each call would take seconds.
_xdog = jax.jit(sketch.xdog, static_argnames="max_sigma")
_random_xdog = jax.jit(sketch.random_xdog)


def _faces(shared, count=4):
    paths = sorted((shared / "data/anime_faces/test").iterdir())[:count]
    pictures = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in paths]
    return np.stack(pictures)


def _blobs(batch=4, size=48):
    """Smooth random pictures, uint8 [B, H, W, 3]."""
    noise = np.random.default_rng(0).uniform(size=(batch, size, size, 3))
    smooth = np.stack([cv2.GaussianBlur(picture, (0, 0), 2.0) for picture in noise])
    low, high = smooth.min(), smooth.max()
    return np.uint8(np.rint(255 * (smooth - low) / (high - low)))


def _to_float(pictures):
    return jnp.asarray(pictures, jnp.float32) / 127.5 - 1


def _opencv_xdog(picture, sigma):
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) / 255.0

    def blur(width):
        taps = round(8 * width + 1) | 1
        return cv2.GaussianBlur(grey, (taps, taps), width, borderType=cv2.BORDER_REFLECT_101)

    return np.where(grey * (11 * blur(sigma) - 10 * blur(3.5 * sigma)) < 0.01, -1, 1)


@pytest.mark.parametrize("sigma", sketch.SIGMAS)
def test_equals_the_official_sketches(shared, sigma):
    stored = np.load(shared / "golden/xdog.npz")
    image = _to_float(stored["images"])
    lines = _xdog(image, jnp.full((len(image),), sigma))[..., 0]
    assert np.mean((lines > 0) == (stored[f"xdog_{sigma}"] > 127)) >= 0.999


def test_equals_opencv_on_faces(shared):
    pictures = _faces(shared, 3)
    lines = np.asarray(_xdog(_to_float(pictures), jnp.array(sketch.SIGMAS)))[..., 0]
    for picture, sigma, drawn in zip(pictures, sketch.SIGMAS, lines, strict=True):
        expected = _opencv_xdog(picture, sigma)
        assert 0.02 < np.mean(expected < 0) < 0.5  # there are lines, and paper
        assert np.mean(drawn == expected) >= 0.999


def test_each_picture_has_its_own_sigma_under_jit():
    pictures = _blobs(3)
    lines = np.asarray(_xdog(_to_float(pictures), jnp.array(sketch.SIGMAS)))
    assert lines.shape == (3, 48, 48, 1)
    assert set(np.unique(lines)) == {-1.0, 1.0}
    for picture, sigma, drawn in zip(pictures, sketch.SIGMAS, lines[..., 0], strict=True):
        assert np.mean(drawn == _opencv_xdog(picture, sigma)) >= 0.999


def test_wider_lines_on_request():
    picture = _blobs(1)
    drawn = _xdog(_to_float(picture), jnp.array([0.9]), max_sigma=1.0)
    assert np.mean(np.asarray(drawn)[0, ..., 0] == _opencv_xdog(picture[0], 0.9)) >= 0.999


@pytest.mark.parametrize("sigma", [*sketch.SIGMAS, 1.05, 1.4, 1.75])
def test_taps_equal_opencv(sigma):
    size = round(8 * sigma + 1) | 1
    taps = np.asarray(sketch._gaussian_taps(jnp.array([sigma]), 9))[0]
    expected = np.pad(cv2.getGaussianKernel(size, sigma)[:, 0], 9 - size // 2)
    np.testing.assert_allclose(taps, expected, atol=1e-7)


def test_plain_paper_has_no_lines_and_black_is_all_line():
    sigma = jnp.full((2,), 0.4)
    image = jnp.stack([jnp.full((20, 20, 3), -1.0), jnp.full((20, 20, 3), 0.7)])
    black, paper = _xdog(image, sigma)
    assert jnp.all(black == -1) and jnp.all(paper == 1)


def test_random_sketches_depend_on_the_key_alone():
    image = _to_float(_blobs(4))
    key = jax.random.key(3)
    drawn = _random_xdog(key, image)
    np.testing.assert_array_equal(drawn, _random_xdog(key, image))
    np.testing.assert_array_equal(drawn, sketch.random_xdog(key, image))
    assert not np.array_equal(drawn, _random_xdog(jax.random.key(4), image))


def test_random_sketches_use_every_sigma():
    image = _to_float(np.repeat(_blobs(1), 32, axis=0))
    drawn = np.asarray(_random_xdog(jax.random.key(0), image))
    each = [np.asarray(_xdog(image[:1], jnp.array([sigma])))[0] for sigma in sketch.SIGMAS]
    counts = [sum(np.array_equal(picture, one) for picture in drawn) for one in each]
    assert sum(counts) == 32
    assert min(counts) >= 4


def test_keeps_the_dtype():
    image = _to_float(_blobs(2)).astype(jnp.bfloat16)
    assert _xdog(image, jnp.array([0.3, 0.5])).dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("image", "sigma", "message"),
    [
        (jnp.zeros((32, 32, 3)), jnp.array([0.3]), "image has shape"),
        (jnp.zeros((1, 32, 32, 4)), jnp.array([0.3]), "image has shape"),
        (jnp.zeros((1, 32, 32, 3), jnp.uint8), jnp.array([0.3]), "uint8"),
        (jnp.zeros((1, 7, 32, 3)), jnp.array([0.3]), "7 x 32 pixels"),
        (jnp.zeros((2, 32, 32, 3)), jnp.array([0.3]), r"expected one value an image, \(2,\)"),
        (jnp.zeros((1, 32, 32, 3)), jnp.array([0.0]), "sigma is"),
        (jnp.zeros((1, 32, 32, 3)), jnp.array([0.6]), "max_sigma"),
    ],
)
def test_refuses(image, sigma, message):
    with pytest.raises(ValueError, match=message):
        sketch.xdog(image, sigma)


def test_the_smallest_picture_works():
    assert _xdog(jnp.zeros((1, 8, 8, 3)), jnp.array([0.5])).shape == (1, 8, 8, 1)
