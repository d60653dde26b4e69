"""Line art from a colour picture: the extended difference of Gaussians (XDoG).

Winnemoeller, Kyprianidis and Olsen 2012, with the settings of AnimeDiffusion
(Cao et al. 2024), which SSIMBaD keeps. The sketch is the condition that says
where the lines are.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ssimbad_jax import streams

SIGMAS = (0.3, 0.4, 0.5)  # pixels; widths of the narrow Gaussian, drawn uniformly
K = 3.5  # wide Gaussian over narrow Gaussian
P = 10.0  # strength of the sharpening
EPSILON = 0.01  # threshold between line and paper
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
GREY_LEVELS = 255.0  # the official sketches are made of 8-bit grey pictures


def _check_image(image: jax.Array, radius: int) -> None:
    if image.ndim != 4 or image.shape[-1] != 3:
        raise ValueError(
            f"image has shape {image.shape}, expected RGB pictures [B, H, W, 3]; "
            "add a batch axis with image[None] or drop the alpha channel"
        )
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(
            f"image has dtype {image.dtype}, expected floating point in [-1, 1]; "
            "convert uint8 pictures with image / 127.5 - 1"
        )
    if min(image.shape[1:3]) <= radius:
        raise ValueError(
            f"image is {image.shape[1]} x {image.shape[2]} pixels, smaller than the "
            f"{radius + 1} that reflected borders need; make the sketch at a larger size"
        )


def _check_sigma(sigma: jax.Array, batch: int, max_sigma: float) -> None:
    if sigma.shape != (batch,):
        raise ValueError(
            f"sigma has shape {sigma.shape}, expected one value an image, ({batch},); "
            f"use jnp.full(({batch},), value) for the same sigma everywhere"
        )
    if isinstance(sigma, jax.core.Tracer):
        return
    values = np.asarray(sigma)
    if not np.all((values > 0) & (values <= np.float32(max_sigma))):
        raise ValueError(
            f"sigma is {values.tolist()}, expected values above 0 and at most max_sigma = "
            f"{max_sigma}; pass a larger max_sigma for wider lines"
        )


def _radius(sigma: float) -> int:
    """Half the width of OpenCV's kernel, round(8 sigma + 1) | 1 taps."""
    return (round(8 * sigma + 1) | 1) // 2


def _gaussian_taps(sigma: jax.Array, radius: int) -> jax.Array:
    """Normalised taps [B, 2 radius + 1], zero where OpenCV's kernel of that sigma ends."""
    offset = jnp.arange(-radius, radius + 1, dtype=sigma.dtype)[None, :]
    own_radius = (jnp.round(8 * sigma + 1).astype(jnp.int32) | 1) // 2
    inside = jnp.abs(offset) <= own_radius[:, None].astype(sigma.dtype)
    taps = jnp.where(inside, jnp.exp(-0.5 * (offset / sigma[:, None]) ** 2), 0.0)
    return taps / jnp.sum(taps, axis=1, keepdims=True)


def _convolve(x: jax.Array, taps: jax.Array, axis: int) -> jax.Array:
    """Convolves [B, H, W] along one axis with each image's own taps, borders reflected."""
    num_taps, size = taps.shape[1], x.shape[axis]
    padding = [(0, 0)] * 3
    padding[axis] = (num_taps // 2, num_taps // 2)
    padded = jnp.pad(x, padding, mode="reflect")
    # Shifted sums: exact float32 on every device, and one fused loop, where a convolution with
    # a kernel of its own for each image is neither.
    shifted = (jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(num_taps))
    weighted = (taps[:, i, None, None] * part for i, part in enumerate(shifted))
    return sum(weighted, start=jnp.zeros_like(x))


def _gaussian_blur(x: jax.Array, sigma: jax.Array, max_sigma: float) -> jax.Array:
    taps = _gaussian_taps(sigma, _radius(max_sigma))
    return _convolve(_convolve(x, taps, axis=2), taps, axis=1)


def xdog(
    image: jax.Array,
    sigma: jax.Array,
    *,
    k: float = K,
    p: float = P,
    epsilon: float = EPSILON,
    max_sigma: float = max(SIGMAS),
) -> jax.Array:
    """Draws the lines of a picture.

    With g the grey picture in [0, 1] and G(s) its Gaussian blur, a pixel is black where
    `g * ((1 + p) G(sigma) - p G(k sigma)) < epsilon`. The soft threshold of XDoG is left out:
    at the official steepness of 1e9 it is a step.

    Args:
        image: Float RGB pictures [B, H, W, 3] in [-1, 1].
        sigma: Width of the narrow Gaussian for each picture, [B], in pixels. May be traced.
        k: Width of the wide Gaussian over that of the narrow one.
        p: Strength of the sharpening.
        epsilon: Threshold between line and paper.
        max_sigma: Largest sigma to expect: it fixes the number of taps at compile time. A traced
          sigma above it is blurred with a kernel that is cut off.

    Returns:
        Sketches [B, H, W, 1], -1 on lines and 1 on paper, in the dtype of `image`.

    Raises:
        ValueError: On pictures that are not float [B, H, W, 3] or too small for the reflected
          borders, and on sigmas of another shape or, where known, outside (0, max_sigma].
    """
    sigma = jnp.asarray(sigma, jnp.float32)
    _check_image(image, _radius(k * max_sigma))
    _check_sigma(sigma, image.shape[0], max_sigma)
    red, green, blue = jnp.unstack((image.astype(jnp.float32) + 1) * (GREY_LEVELS / 2), axis=-1)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    grey = jnp.round(luma) / GREY_LEVELS
    narrow = _gaussian_blur(grey, sigma, max_sigma)
    wide = _gaussian_blur(grey, k * sigma, k * max_sigma)
    is_line = grey * ((1 + p) * narrow - p * wide) < epsilon
    return jnp.where(is_line, -1.0, 1.0)[..., None].astype(image.dtype)


def random_xdog(key: jax.Array, image: jax.Array) -> jax.Array:
    """Draws the lines of each picture with a sigma of its own from `SIGMAS`.

    Args:
        key: PRNG key. Picture i uses the i-th key of `streams.of_each(key, B)`.
        image: Float RGB pictures [B, H, W, 3] in [-1, 1].

    Returns:
        Sketches [B, H, W, 1], -1 on lines and 1 on paper.

    Raises:
        ValueError: As `xdog`.
    """
    keys = streams.of_each(key, image.shape[0])
    sigma = jax.vmap(lambda key: jax.random.choice(key, jnp.array(SIGMAS, jnp.float32)))(keys)
    return xdog(image, sigma)
