import re

import jax
import numpy as np
import pytest
from scipy import stats
from skimage import metrics

from ssimbad_jax.metrics import noise_ssim
from ssimbad_jax.training import sharding

SIGMAS = np.geomspace(0.002, 80.0, 9)


@pytest.fixture(scope="module")
def images():
    """Smooth shading with a few hard edges: uint8 [3, 24, 20, 3]."""
    y, x = np.mgrid[0:24, 0:20]
    shades = [np.stack([8 * y, 12 * x, 5 * (x + y) + 10 * k], axis=-1) for k in range(3)]
    pictures = np.stack(shades).clip(0, 255).astype(np.uint8)
    pictures[1, 5:12, 3:9] = 250
    return pictures


def on_devices(count, images, **options):
    mesh = sharding.data_mesh(jax.devices()[:count])
    options = {"num_draws": 2, **options}
    return noise_ssim.noise_ssim(jax.random.key(3), images, SIGMAS, mesh=mesh, **options)


def test_equals_scikit_image_with_the_same_noise(images):
    measured = on_devices(1, images)
    assert measured.shape == (2, 3, len(SIGMAS)) and measured.dtype == np.float32
    for draw in range(2):
        for number, image in enumerate(images):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(3), number), draw)
            noise = noise_ssim.noise_of_levels(key, image.shape)
            x0 = image / 127.5 - 1.0
            expected = [
                metrics.structural_similarity(
                    image / 255.0,
                    (np.clip(x0 + sigma * np.asarray(noise(level), np.float64), -1, 1) + 1) / 2,
                    channel_axis=-1,
                    data_range=1.0,
                )
                for level, sigma in enumerate(SIGMAS)
            ]
            np.testing.assert_allclose(measured[draw, number], expected, atol=2e-5)


def test_noise_is_standard_normal_and_nearly_independent():
    noise = noise_ssim.noise_of_levels(jax.random.key(0), (64, 48, 3))
    levels = np.stack([np.ravel(noise(level)) for level in range(40)])
    pixels = levels.shape[1]
    assert np.all(np.abs(levels.mean(axis=1)) < 5 / np.sqrt(pixels))
    assert np.all(np.abs(levels.std(axis=1) - 1) < 5 / np.sqrt(2 * pixels))
    assert np.abs(stats.kurtosis(levels, axis=1)).max() < 0.3
    np.testing.assert_array_equal(levels[1::2], -levels[::2])
    correlation = np.corrcoef(levels[::2])[np.triu_indices(20, k=1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(pixels)


def test_devices_and_memory_do_not_change_the_result(images):
    reference = on_devices(1, images)
    # Three pictures on eight devices leave five with copies.
    np.testing.assert_allclose(on_devices(8, images), reference, atol=1e-5)
    np.testing.assert_allclose(on_devices(2, images), reference, atol=1e-5)
    # So little memory that the noise levels go one by one.
    np.testing.assert_allclose(on_devices(1, images, max_memory_bytes=1), reference, atol=1e-5)
    # Room for seven: a chunk of five and one of four.
    some = 7 * 12 * 4 * images[0].size
    np.testing.assert_allclose(on_devices(1, images, max_memory_bytes=some), reference, atol=1e-5)


@pytest.mark.parametrize(("room", "chunk"), [(9, 9), (8, 5), (4, 3), (1, 1), (0, 1)])
def test_no_more_noise_levels_at_once_than_fit_into_the_memory(room, chunk, images, monkeypatch):
    jitted_pass, programs = noise_ssim._jitted_pass, []

    def lower_only(*arguments):
        def measure(*inputs):
            programs.append(jitted_pass(*arguments).lower(*inputs).as_text())
            return np.zeros((1, 2, len(SIGMAS)), np.float32)

        return measure

    monkeypatch.setattr(noise_ssim, "_jitted_pass", lower_only)
    on_devices(1, images[:1], max_memory_bytes=room * 12 * 4 * images[0].size)
    height, width, channels = images[0].shape
    arrays_of_pictures = rf"tensor<(\d+)x(?:1x)?{height}x{width}x{channels}xf32>"
    assert max(map(int, re.findall(arrays_of_pictures, *programs))) == chunk


def test_noise_belongs_to_picture_and_draw(images):
    both = on_devices(1, images)
    assert not np.allclose(both[0], both[1], atol=1e-4)
    same_picture_twice = on_devices(1, images[[0, 0]])
    assert not np.allclose(same_picture_twice[:, 0], same_picture_twice[:, 1], atol=1e-4)
    alone = on_devices(1, images[:1], num_draws=1)
    np.testing.assert_allclose(alone[0, 0], both[0, 0], atol=1e-5)


def test_similarity_falls_from_one_to_nothing(images):
    curve = on_devices(1, images).mean(axis=(0, 1))
    assert curve[0] > 0.99 and abs(curve[-1]) < 0.05
    assert np.all(np.diff(curve) < 0.01)


def test_progress_counts_every_picture_once(images):
    counts = []
    on_devices(2, images, advance=counts.append)
    assert counts == [2, 1]


def test_bad_input_is_refused(images):
    with pytest.raises(ValueError, match=r"uint8 .* got float64"):
        on_devices(1, images / 255)
    with pytest.raises(ValueError, match="N at least 1"):
        on_devices(1, images[:0])
    with pytest.raises(ValueError, match="num_draws is 0"):
        on_devices(1, images, num_draws=0)
    with pytest.raises(ValueError, match="got 6x20"):
        on_devices(1, images[:, :6])
    mesh = sharding.data_mesh(jax.devices()[:1])
    with pytest.raises(ValueError, match="positive noise levels"):
        noise_ssim.noise_ssim(jax.random.key(0), images, np.array([0.0, 1.0]), 1, mesh)
