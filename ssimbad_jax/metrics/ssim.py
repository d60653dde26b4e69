"""Structural similarity (Wang et al. 2004) in its two usual definitions.

Both use K1 = 0.01, K2 = 0.03 and data range 1, average over the windows that lie wholly inside the
image and over channels, and equal scikit-image's `structural_similarity`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

# Side of the uniform window.
UNIFORM_WINDOW = 7
# Standard deviation of the Gaussian window, and its side: truncated at 3.5 standard deviations.
GAUSSIAN_SIGMA = 1.5
GAUSSIAN_WINDOW = 11

_C1 = 0.01**2
_C2 = 0.03**2


def ssim_uniform(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns SSIM with a 7x7 uniform window and sample covariance, scikit-image's default.

    Args:
        a: float [B, H, W, C] in [0, 1].
        b: float [B, H, W, C] in [0, 1].

    Returns:
        float32 [B], at most 1.

    Raises:
        ValueError: the shapes differ, are not [B, H, W, C], or are smaller than the window.
    """
    _check_shapes(a, b, UNIFORM_WINDOW)
    pixels = UNIFORM_WINDOW**2
    return _ssim(a, b, _uniform_mean, covariance_scale=pixels / (pixels - 1))


def ssim_gaussian(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns SSIM with a Gaussian window (sigma 1.5, 11 taps) and population covariance.

    The definition of Wang et al. 2004; in scikit-image `gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False`.

    Args:
        a: float [B, H, W, C] in [0, 1].
        b: float [B, H, W, C] in [0, 1].

    Returns:
        float32 [B], at most 1.

    Raises:
        ValueError: the shapes differ, are not [B, H, W, C], or are smaller than the window.
    """
    _check_shapes(a, b, GAUSSIAN_WINDOW)
    return _ssim(a, b, _gaussian_mean, covariance_scale=1.0)


def contrast_and_ssim(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the two terms of which multi-scale SSIM is made, with the Gaussian window.

    Args:
        a: float [B, H, W, C] in [0, 1].
        b: float [B, H, W, C] in [0, 1].

    Returns:
        The means over the windows of contrast times structure, float32 [B, C], and of SSIM,
        which is that times luminance, float32 [B, C].

    Raises:
        ValueError: the shapes differ, are not [B, H, W, C], or are smaller than the window.
    """
    _check_shapes(a, b, GAUSSIAN_WINDOW)
    luminance, structure = _terms(a, b, _gaussian_mean, covariance_scale=1.0)
    windows = (1, 3)
    return jnp.mean(structure, axis=windows), jnp.mean(luminance * structure, axis=windows)


def _check_shapes(a: jax.Array, b: jax.Array, window: int) -> None:
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(
            f"SSIM compares two batches [B, H, W, C] of one shape; got {a.shape} and {b.shape}"
        )
    if min(a.shape[1:3]) < window:
        raise ValueError(
            f"SSIM with a window of {window} pixels needs images at least that high and wide; "
            f"got {a.shape[1]}x{a.shape[2]}"
        )


def _ssim(
    a: jax.Array,
    b: jax.Array,
    local_mean: Callable[[jax.Array], jax.Array],
    covariance_scale: float,
) -> jax.Array:
    """Returns SSIM of two [B, H, W, C] from the means over all windows inside the image."""
    luminance, structure = _terms(a, b, local_mean, covariance_scale)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def _terms(
    a: jax.Array,
    b: jax.Array,
    local_mean: Callable[[jax.Array], jax.Array],
    covariance_scale: float,
) -> tuple[jax.Array, jax.Array]:
    """Returns luminance, and contrast times structure, of each window; laid out as `local_mean`."""
    # Variances do not depend on the origin; around mid-grey, E[x^2] - E[x]^2 cancels least.
    a = a.astype(jnp.float32) - 0.5
    b = b.astype(jnp.float32) - 0.5
    mean_a, mean_b = local_mean(a), local_mean(b)
    variance_a = covariance_scale * (local_mean(a * a) - mean_a * mean_a)
    variance_b = covariance_scale * (local_mean(b * b) - mean_b * mean_b)
    covariance = covariance_scale * (local_mean(a * b) - mean_a * mean_b)
    mean_a, mean_b = mean_a + 0.5, mean_b + 0.5
    luminance = (2.0 * mean_a * mean_b + _C1) / (mean_a * mean_a + mean_b * mean_b + _C1)
    structure = (2.0 * covariance + _C2) / (variance_a + variance_b + _C2)
    return luminance, structure


def _uniform_mean(x: jax.Array) -> jax.Array:
    """Returns means over 7x7 windows: [B, H, W, C] -> [B, H-6, W-6, C]."""
    batch, height, width, channels = x.shape
    # One long row of values: the three channels alone would fill no vector register.
    x = x.reshape(batch, height, width * channels)
    ones = (1, 1, 1)
    sums = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, UNIFORM_WINDOW, 1), ones, "VALID")
    sums = jax.lax.reduce_window(
        sums,
        0.0,
        jax.lax.add,
        (1, 1, UNIFORM_WINDOW),
        ones,
        "VALID",
        window_dilation=(1, 1, channels),
    )
    means = sums / UNIFORM_WINDOW**2
    return means.reshape(batch, means.shape[1], -1, channels)


def _gaussian_mean(x: jax.Array) -> jax.Array:
    """Returns Gaussian-weighted means: [B, H, W, C] -> [B, H-10, C, W-10]."""
    rows, columns = _gaussian_band(x.shape[1]), _gaussian_band(x.shape[2])
    x = jnp.einsum("ih,bhwc->biwc", rows, x, precision=jax.lax.Precision.HIGHEST)
    return jnp.einsum("jw,biwc->bicj", columns, x, precision=jax.lax.Precision.HIGHEST)


def _gaussian_band(size: int) -> np.ndarray:
    """Returns the matrix [size-10, size] whose row i holds the window's weights from column i on.

    On every kind of device a product with it is faster than a convolution of so few channels.
    """
    offset = np.arange(GAUSSIAN_WINDOW) - GAUSSIAN_WINDOW // 2
    weights = np.exp(-0.5 * (offset / GAUSSIAN_SIGMA) ** 2)
    band = np.zeros((size - GAUSSIAN_WINDOW + 1, size), np.float32)
    for i, row in enumerate(band):
        row[i : i + GAUSSIAN_WINDOW] = weights / weights.sum()
    return band
