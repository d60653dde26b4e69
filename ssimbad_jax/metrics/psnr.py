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
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(
            f"psnr compares two batches [B, H, W, C] of one shape; got {a.shape} and {b.shape}"
        )
    return jnp.asarray(dm_pix.psnr(a.astype(jnp.float32), b.astype(jnp.float32)))
