"""Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003).

Contrast and structure are compared at every scale and luminance at the last, where a scale is half
the size of the one before it (means of 2x2 pixels). Of squares at five scales it equals piq's
`multi_scale_ssim`, which repeats a row and a column where only one side is odd.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ssimbad_jax.metrics import ssim

# Exponents of the scales, the finest first (Wang et al. 2003, section 3.2).
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

# Below it the derivative of a power would grow without bound.
_SMALLEST_FACTOR = 1e-6


def num_scales(height: int, width: int) -> int:
    """Returns how many scales the 11-tap window of `ssim_gaussian` allows, at most 5.

    The smaller side needs 11 pixels for one scale, 21 for two, 41 for three, 81 for four, 161 for
    five.

    Raises:
        ValueError: a side is smaller than the window.
    """
    size = min(height, width)
    if size < ssim.GAUSSIAN_WINDOW:
        raise ValueError(
            f"MS-SSIM needs images of {ssim.GAUSSIAN_WINDOW} pixels or more; got {height}x{width}"
        )
    scales = 1
    while scales < len(WEIGHTS) and (size := -(-size // 2)) >= ssim.GAUSSIAN_WINDOW:
        scales += 1
    return scales


def ms_ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns MS-SSIM of each pair of images, with as many scales as `num_scales` says.

    With fewer than five scales the weights of the finest ones are used, divided by their sum: one
    scale gives `ssim_gaussian`, but for the order of means over channels and clipping. Values of
    different numbers of scales do not compare.

    A mean contrast below zero (images that are rather each other's negatives) has no power; it
    counts as zero, as in piq, and so does the whole. The gradient is zero there and finite
    everywhere.

    Args:
        a: float [B, H, W, C] in [0, 1].
        b: float [B, H, W, C] in [0, 1].

    Returns:
        float32 [B] in [0, 1], the mean over channels.

    Raises:
        ValueError: the shapes differ, are not [B, H, W, C], or are smaller than the window.
    """
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(
            f"MS-SSIM compares two batches [B, H, W, C] of one shape; got {a.shape} and {b.shape}"
        )
    scales = num_scales(*a.shape[1:3])
    weights = np.asarray(WEIGHTS[:scales], np.float32)
    product = jnp.ones((a.shape[0], a.shape[3]), jnp.float32)
    for scale, weight in enumerate(weights / weights.sum()):
        if scale > 0:
            a, b = _halved(a), _halved(b)
        contrast, similarity = ssim.contrast_and_ssim(a, b)
        product *= _power(similarity if scale == scales - 1 else contrast, weight)
    return jnp.mean(product, axis=1)


def _power(factor: jax.Array, weight: np.floating) -> jax.Array:
    return jnp.where(factor > 0, jnp.maximum(factor, _SMALLEST_FACTOR) ** weight, 0.0)


def _halved(x: jax.Array) -> jax.Array:
    """Returns means of 2x2 pixels: [B, H, W, C] -> [B, ceil(H/2), ceil(W/2), C].

    The first row or column of an odd size counts twice.
    """
    batch, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (height % 2, 0), (width % 2, 0), (0, 0)), mode="edge")
    x = x.reshape(batch, -(-height // 2), 2, -(-width // 2), 2, channels)
    return jnp.mean(x, axis=(2, 4))
