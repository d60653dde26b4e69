"""LPIPS against the known scores of real pictures, and its refusals."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.models import perceptual

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def distances():
    return {net: jax.jit(perceptual.lpips(net)) for net in ("alex", "vgg")}


def pictures():
    """Shading, the same a little and much noised: float32 [3, 32, 32, 3]."""
    y, x = np.mgrid[0:32, 0:32] / 32
    shading = np.stack([y / 2 + x / 4, 1 - y, 0.5 + 0.5 * np.sin(9 * x)], axis=-1)
    noise = np.random.default_rng(0).standard_normal(shading.shape)
    return np.stack([np.clip(shading + s * noise, 0, 1) for s in (0, 0.05, 0.4)]).astype(np.float32)


@pytest.mark.parametrize(("setting", "expected"), [("same", 0.195), ("cross", 0.387)])
def test_equals_the_known_score_of_copying_the_reference(distances, shared, setting, expected):
    pairs = np.load(shared / "benchmark" / "pairs32.npz")
    # One shape for both settings and all chunks.
    chunks = zip(
        *(np.split(pairs[name] / np.float32(255), 4) for name in ("gt", f"reference_{setting}")),
        strict=True,
    )
    measured = np.concatenate([distances["alex"](a, b) for a, b in chunks])
    assert measured.shape == (200,)
    assert measured.mean() == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_more_noise_is_further_away_and_equal_pictures_are_not(distances, net):
    images = pictures()
    measured = distances[net](images[[0, 0, 0]], images)
    assert measured[0] == 0 and 0.01 < measured[1] < measured[2]


def test_small_pictures_are_enlarged_and_large_ones_are_not(distances):
    images = pictures()
    enlarged = np.stack([np.asarray(jax.image.resize(x, (64, 64, 3), "bilinear")) for x in images])
    small = distances["alex"](images[[0]], images[[2]])
    np.testing.assert_allclose(distances["alex"](enlarged[[0]], enlarged[[2]]), small, rtol=1e-4)
    larger = enlarged.repeat(2, axis=1).repeat(2, axis=2)
    assert np.abs(distances["alex"](larger[[0]], larger[[2]]) - small) > 0.01


def test_the_gradient_is_finite_even_on_flat_pictures_and_makes_them_similar():
    a, _, b = pictures()
    lpips = perceptual.lpips("alex")
    truths = jnp.stack([jnp.asarray(a), jnp.zeros_like(a), jnp.ones_like(a)])
    guesses = jnp.stack([jnp.asarray(b), jnp.full_like(a, 0.5), jnp.ones_like(a)])
    value_and_slope = jax.jit(jax.value_and_grad(lambda x: lpips(x, truths).sum()))
    before, slope = value_and_slope(guesses)
    assert np.isfinite(slope).all()
    after, _ = value_and_slope(guesses - 0.002 * slope / jnp.abs(slope).max())
    assert after < before


def _convolved(x, kernel, bias):
    """A 3x3 convolution with zeros around, in float64: [H, W, I] -> [H, W, O]."""
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    return np.maximum(np.einsum("hwiyx,yxio->hwo", windows, np.float64(kernel)) + bias, 0)


def test_features_are_the_mean_of_the_third_block():
    image = pictures()[2, :8, :8]
    params = perceptual._params("vgg")["VGG16_0"]
    x = (2 * np.float64(image) - 1 - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    for number in range(7):
        if number in (2, 4):
            x = x.reshape(len(x) // 2, 2, len(x) // 2, 2, -1).max(axis=(1, 3))
        x = _convolved(x, **params[f"Conv_{number}"])
    x = x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True))
    found = jax.jit(perceptual.vgg16_features)(image[None])
    assert found.shape == (1, 256)
    np.testing.assert_allclose(found[0], x.mean(axis=(0, 1)), rtol=1e-4, atol=1e-4)


def test_blocks_halve_the_size_and_are_what_the_distance_compares():
    images = pictures()
    blocks = jax.jit(perceptual.vgg16_blocks)(images)
    assert [block.shape[1:] for block in blocks] == [
        (32, 32, 64),
        (16, 16, 128),
        (8, 8, 256),
        (4, 4, 512),
        (2, 2, 512),
    ]
    first = jax.jit(perceptual.vgg16_blocks, static_argnums=1)(images, 2)
    assert len(first) == 2
    np.testing.assert_allclose(first[1], blocks[1], rtol=1e-4, atol=1e-4)


def test_files_of_another_digest_are_not_unpickled():
    class Malicious:
        def __reduce__(self):
            return pytest.fail, ("the file was executed",)

    with pytest.raises(ValueError, match=r"weights.ckpt has the SHA-256 .* not opened"):
        perceptual.weights_of(pickle.dumps(Malicious()), "0" * 64, "weights.ckpt")


def test_bad_arguments_are_refused():
    lpips = perceptual.lpips("alex")
    with pytest.raises(ValueError, match="no network 'squeeze'; choose one of alex, vgg"):
        perceptual.lpips("squeeze")
    with pytest.raises(ValueError, match="of one shape"):
        lpips(jnp.zeros((1, 64, 64, 3)), jnp.zeros((2, 64, 64, 3)))
    with pytest.raises(ValueError, match=r"look at \[B, H, W, 3\]"):
        lpips(jnp.zeros((1, 64, 64, 1)), jnp.zeros((1, 64, 64, 1)))
    with pytest.raises(ValueError, match="4 pixels or more"):
        perceptual.vgg16_features(jnp.zeros((1, 3, 64, 3)))
    with pytest.raises(ValueError, match="16 pixels or more"):
        perceptual.vgg16_blocks(jnp.zeros((1, 15, 64, 3)))
