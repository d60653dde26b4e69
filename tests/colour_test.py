"""Colour distances against scikit-image and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
from scipy import stats

from ssimbad_jax.metrics import colour

pytestmark = pytest.mark.usefixtures("quick_compilation")


def random_pictures(count=2, height=7, width=9, seed=0):
    return np.random.default_rng(seed).random((count, height, width, 3), np.float32)


def awkward_colours():
    """Random ones, greys, primaries, equal ones, and both sides of the hues' jump."""
    corners = np.array([[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)], np.float32)
    greys = np.linspace(0, 1, 8, dtype=np.float32)[:, None].repeat(3, axis=1)
    random = random_pictures().reshape(-1, 3)
    near_the_jump = np.array([[0.6, 0.2, 0.41], [0.6, 0.2, 0.45]], np.float32)
    colours = np.concatenate([corners, greys, near_the_jump, random])
    first, second = np.meshgrid(np.arange(40), np.arange(len(colours)))
    return colours[first.ravel()], colours[second.ravel()]


def test_lab_equals_scikit_image():
    colours, _ = awkward_colours()
    expected = skimage.color.rgb2lab(colours.astype(np.float64))
    np.testing.assert_allclose(jax.jit(colour.srgb_to_lab)(colours), expected, atol=2e-3)


def test_ciede2000_equals_scikit_image():
    first, second = (skimage.color.rgb2lab(c.astype(np.float64)) for c in awkward_colours())
    expected = skimage.color.deltaE_ciede2000(first, second)
    measured = jax.jit(colour.ciede2000)(np.float32(first), np.float32(second))
    np.testing.assert_allclose(measured, expected, atol=5e-3)


def test_distance_of_pictures_is_the_mean_over_pixels():
    a, b = random_pictures(seed=1), random_pictures(seed=2)
    expected = skimage.color.deltaE_ciede2000(
        *(skimage.color.rgb2lab(np.float64(x)) for x in (a, b))
    )
    measured = jax.jit(colour.colour_distance)(a, b)
    np.testing.assert_allclose(measured, expected.mean(axis=(1, 2)), atol=1e-3)
    np.testing.assert_array_equal(jax.jit(colour.colour_distance)(a, a), 0)


def test_palette_distance_equals_scipy():
    a, b = random_pictures(seed=1), random_pictures(seed=2) ** 2
    expected = [
        2
        * np.mean(
            [
                stats.wasserstein_distance(x @ direction, y @ direction)
                for direction in colour.directions()
            ]
        )
        for x, y in zip(
            *(skimage.color.rgb2lab(np.float64(p)).reshape(2, -1, 3) for p in (a, b)), strict=True
        )
    ]
    np.testing.assert_allclose(jax.jit(colour.palette_distance)(a, b), expected, rtol=1e-4)


def test_palettes_do_not_care_where_colours_lie():
    a = random_pictures()
    moved = np.random.default_rng(3).permutation(a.reshape(2, -1, 3), axis=1).reshape(a.shape)
    np.testing.assert_allclose(colour.palette_distance(a, moved), 0, atol=1e-4)
    assert (colour.colour_distance(a, moved) > 5).all()


@pytest.mark.parametrize("size", [8, 150])
def test_moving_all_colours_costs_about_the_length_of_the_way(size):
    for first, second in (([0.2, 0.3, 0.5], [0.3, 0.3, 0.4]), ([0.4, 0.4, 0.4], [0.8, 0.8, 0.8])):
        a, b = (jnp.broadcast_to(jnp.asarray(c), (1, size, size, 3)) for c in (first, second))
        length = np.linalg.norm(skimage.color.rgb2lab(first) - skimage.color.rgb2lab(second))
        assert colour.palette_distance(a, b)[0] == pytest.approx(length, rel=0.05)


def test_directions_are_unit_vectors_all_over():
    directions = colour.directions()
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    # Evenly spread vectors have the second moments of the sphere.
    np.testing.assert_allclose(
        directions.T @ directions / len(directions), np.eye(3) / 3, atol=0.03
    )


@pytest.mark.parametrize("distance", [colour.colour_distance, colour.palette_distance])
def test_bad_shapes_are_refused(distance):
    for first, second in (((1, 9, 9, 3), (2, 9, 9, 3)), ((1, 9, 9, 1), (1, 9, 9, 1))):
        with pytest.raises(ValueError, match="two batches"):
            distance(jnp.zeros(first), jnp.zeros(second))
