"""Distances between the colours of pictures, in CIELAB (CIE 15:2004; sRGB of IEC 61966-2-1, D65).

Lightness lies in [0, 100]; a distance of about 2 is just noticed, black to white is 100.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

# Linear sRGB -> XYZ, and XYZ of its white (D65, 2 degrees).
_XYZ_OF_RGB = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ],
    np.float32,
)
_WHITE = np.array([0.95047, 1.0, 1.08883], np.float32)

_DIRECTIONS = 16
# Larger pictures are represented by every k-th row and column: a palette needs no more pixels.
_PALETTE_SIDE = 64


def srgb_to_lab(rgb: jax.Array) -> jax.Array:
    """Converts sRGB to CIELAB, like scikit-image's `rgb2lab`.

    Args:
        rgb: float [..., 3] in [0, 1].

    Returns:
        float32 [..., 3]: L in [0, 100], a (green to red) and b (blue to yellow) about +-100.
    """
    rgb = rgb.astype(jnp.float32)
    above = jnp.maximum(rgb, 0.04045)
    linear = jnp.where(rgb > 0.04045, ((above + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = jnp.einsum("...c,xc->...x", linear, _XYZ_OF_RGB, precision=jax.lax.Precision.HIGHEST)
    xyz = xyz / jnp.asarray(_WHITE).reshape((1,) * (rgb.ndim - 1) + (3,))
    threshold = (6 / 29) ** 3
    roots = jnp.cbrt(jnp.maximum(xyz, threshold))
    x, y, z = jnp.moveaxis(
        jnp.where(xyz > threshold, roots, xyz * (29 / 6) ** 2 / 3 + 4 / 29), -1, 0
    )
    return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(lab_1: jax.Array, lab_2: jax.Array) -> jax.Array:
    """Returns the colour difference CIEDE2000 with all weights 1 (CIE 142-2001).

    Names and formulas are those of Sharma, Wu and Dalal 2005, equations 2 to 22.

    Args:
        lab_1: float [..., 3], CIELAB.
        lab_2: float [..., 3], CIELAB.

    Returns:
        float32 [...].
    """
    l_1, a_1, b_1 = jnp.moveaxis(lab_1, -1, 0)
    l_2, a_2, b_2 = jnp.moveaxis(lab_2, -1, 0)
    mean_chroma_7 = (0.5 * (jnp.hypot(a_1, b_1) + jnp.hypot(a_2, b_2))) ** 7
    g = 0.5 * (1 - jnp.sqrt(mean_chroma_7 / (mean_chroma_7 + 25.0**7)))
    a_1, a_2 = (1 + g) * a_1, (1 + g) * a_2
    c_1, c_2 = jnp.hypot(a_1, b_1), jnp.hypot(a_2, b_2)
    h_1, h_2 = (jnp.mod(jnp.arctan2(b, a), 2 * jnp.pi) for a, b in ((a_1, b_1), (a_2, b_2)))

    # Hue differences go the short way round; a grey has no hue.
    turn = h_2 - h_1
    turn = turn - 2 * jnp.pi * jnp.sign(turn) * (jnp.abs(turn) > jnp.pi)
    grey = c_1 * c_2 == 0
    delta_h = jnp.where(grey, 0.0, 2 * jnp.sqrt(c_1 * c_2) * jnp.sin(turn / 2))
    h = jnp.where(grey, h_1 + h_2, h_1 + turn / 2)

    mean_l, c = 0.5 * (l_1 + l_2), 0.5 * (c_1 + c_2)
    t = (
        1
        - 0.17 * jnp.cos(h - math.radians(30))
        + 0.24 * jnp.cos(2 * h)
        + 0.32 * jnp.cos(3 * h + math.radians(6))
        - 0.20 * jnp.cos(4 * h - math.radians(63))
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / jnp.sqrt(20 + (mean_l - 50) ** 2)
    s_c = 1 + 0.045 * c
    s_h = 1 + 0.015 * c * t
    degrees = jnp.mod(jnp.degrees(h), 360)
    delta_theta = math.radians(30) * jnp.exp(-(((degrees - 275) / 25) ** 2))
    r_t = -2 * jnp.sqrt(c**7 / (c**7 + 25.0**7)) * jnp.sin(2 * delta_theta)
    lightness, chroma, hue = (l_2 - l_1) / s_l, (c_2 - c_1) / s_c, delta_h / s_h
    squared = lightness**2 + chroma**2 + hue**2 + r_t * chroma * hue
    return jnp.sqrt(jnp.maximum(squared, 0.0))


def colour_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the mean CIEDE2000 over the pixels of each pair of aligned images.

    Args:
        a: float [B, H, W, 3] in [0, 1], sRGB.
        b: float [B, H, W, 3] in [0, 1], sRGB.

    Returns:
        float32 [B], 0 where the images are equal.

    Raises:
        ValueError: the shapes differ or are not [B, H, W, 3].
    """
    _check_shapes(a, b)
    return jnp.mean(ciede2000(srgb_to_lab(a), srgb_to_lab(b)), axis=(1, 2))


def palette_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns a distance between the colours of each pair of images, wherever they lie.

    The sliced Wasserstein-1 distance in CIELAB (Rabin et al. 2011): how far the colours of one
    image have to be moved to become those of the other, as a mean over 16 fixed directions. It is
    doubled, so that moving all colours by the same vector costs about its length. Images of more
    than 64 pixels a side are represented by every k-th row and column.

    Args:
        a: float [B, H, W, 3] in [0, 1], sRGB.
        b: float [B, H, W, 3] in [0, 1], sRGB.

    Returns:
        float32 [B], 0 for equal colours in any order.

    Raises:
        ValueError: the shapes differ or are not [B, H, W, 3].
    """
    _check_shapes(a, b)
    moved = jnp.abs(_sorted_projections(a) - _sorted_projections(b))
    return 2 * jnp.mean(moved, axis=(1, 2))


def directions() -> np.ndarray:
    """Returns the unit vectors of `palette_distance`, [16, 3], evenly over half a sphere.

    A Fibonacci lattice (González 2010).
    """
    index = np.arange(_DIRECTIONS)
    height = (index + 0.5) / _DIRECTIONS
    angle = index * np.pi * (3 - 5**0.5)
    radius = np.sqrt(1 - height**2)
    return np.stack([height, radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _sorted_projections(images: jax.Array) -> jax.Array:
    """Returns the colours along each direction, ascending: [B, directions, pixels]."""
    stride = -(-max(images.shape[1:3]) // _PALETTE_SIDE)
    lab = srgb_to_lab(images[:, ::stride, ::stride])
    return jnp.sort(
        jnp.einsum(
            "bhwc,dc->bdhw",
            lab,
            directions().astype(np.float32),
            precision=jax.lax.Precision.HIGHEST,
        ).reshape(len(images), _DIRECTIONS, -1),
        axis=-1,
    )


def _check_shapes(a: jax.Array, b: jax.Array) -> None:
    if a.shape != b.shape or a.ndim != 4 or a.shape[3] != 3:
        raise ValueError(
            f"colours are compared in two batches [B, H, W, 3] of one shape; got {a.shape} and "
            f"{b.shape}"
        )
