"""Peak signal-to-noise ratio."""

import dm_pix
import jax
import jax.numpy as jnp


def psnr(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns the PSNR of each pair of images, in decibels.

    Args:
        a: float [B, H, W, C] in [0, 1].
        b: float [B, H, W, C] in [0, 1].

    Returns:
        float32 [B], 10 log10(1 / mean squared error); infinite where the images are equal.

    Raises:
        ValueError: the shapes differ or are not [B, H, W, C].
    """
    _check(a, b)
    return jnp.asarray(dm_pix.psnr(a.astype(jnp.float32), b.astype(jnp.float32)))


def psnr_mean_aligned(result: jax.Array, target: jax.Array) -> jax.Array:
    """Returns the PSNR after each result's mean colour was moved to its target's, in decibels.

    Tells a wrong tint of the whole picture from everything else: at small sizes and few samples
    the tint may decide the PSNR.

    Args:
        result: float [B, H, W, C] in [0, 1].
        target: float [B, H, W, C] in [0, 1].

    Returns:
        float32 [B], never below `psnr(result, target)` by more than rounding.

    Raises:
        ValueError: the shapes differ or are not [B, H, W, C].
    """
    _check(result, target)
    tint = jnp.mean(result - target, axis=(1, 2), keepdims=True)
    return psnr(result - tint, target)


def _check(a: jax.Array, b: jax.Array) -> None:
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(
            f"PSNR compares two batches [B, H, W, C] of one shape; got {a.shape} and {b.shape}"
        )
