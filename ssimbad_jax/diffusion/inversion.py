"""Encoding: from an image up the noise levels to the noise that leads back to it.

DDIM's steps taken the other way (Song et al. 2021, arXiv 2010.02502, section 4.3). AnimeDiffusion
fine-tunes through a walk that starts from its encoded target (Cao et al. 2024).
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssimbad_jax.diffusion import denoiser, multistep, samplers


def encode(
    denoise: denoiser.DenoiseFn,
    image: jax.Array,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    *,
    clip_denoised: bool = False,
    walk: samplers.Walk = samplers.walk,
) -> jax.Array:
    """Walks a sigma grid upwards, from an image with the noise of its last level but one.

    The last is 0, or DDPM's smallest: AnimeDiffusion's encoding starts from time index 1, too.

    Args:
        denoise: D, called with `[B, H, W, C]` and sigma `[B]`.
        image: `[B, H, W, C]` in [-1, 1].
        noise: `[B, H, W, C]`, standard normal.
        sigma_grid: `[steps + 1]`, descending: the walk back. Its last entry is left out.
        clip_denoised: see `multistep.ddim`.
        walk: takes the steps.

    Returns:
        `[B, H, W, C]`, of about unit variance: samplers that start from `sigma_grid[0]` times it
        come back near the image.
    """
    grid = jnp.asarray(sigma_grid, image.dtype)[-2::-1]
    noisy = image + grid[0] * noise
    if len(grid) == 1:
        return noisy / grid[0]
    encoded = multistep.ddim(denoise, noisy / grid[0], grid, clip_denoised=clip_denoised, walk=walk)
    return encoded / grid[-1]
