"""Training losses of the denoiser."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssimbad_jax.diffusion import denoiser

Weighting = Callable[[jax.Array], jax.Array]


def uniform_weighting(sigma: jax.Array) -> jax.Array:
    """No weight: SSIMBaD leaves the balance of noise levels to its sigma sampler."""
    return jnp.ones_like(sigma)


def edm_weighting(sigma_data: float) -> Weighting:
    """Returns 1 / c_out^2, which gives every sigma unit loss at initialisation (EDM, section 5)."""
    return lambda sigma: 1.0 / denoiser.preconditioning(sigma, sigma_data).c_out ** 2


def denoising_loss(
    denoise: denoiser.DenoiseFn, image: jax.Array, sigma: jax.Array, noise: jax.Array
) -> jax.Array:
    """Mean squared error of the denoised image, one value an image.

    Args:
        denoise: D, called with `[B, H, W, 3]` and sigma `[B]`.
        image: `[B, H, W, 3]` in [-1, 1], the target x0.
        sigma: `[B]`, the noise levels.
        noise: `[B, H, W, 3]`, standard normal.

    Returns:
        `[B]`: the mean over pixels and channels of `(D(x0 + sigma n; sigma) - x0)^2`.
    """
    denoised = denoise(image + sigma[:, None, None, None] * noise, sigma)
    return jnp.mean((denoised - image) ** 2, axis=(1, 2, 3))
