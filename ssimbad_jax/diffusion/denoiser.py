"""The preconditioned denoiser D(x; sigma) of Karras et al. 2022 (EDM).

Images are float32 `[B, H, W, C]` in [-1, 1]. The condition, sketch and reference along the
channels, is concatenated to the scaled noisy image.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

NetworkFn = Callable[[jax.Array, jax.Array], jax.Array]
DenoiseFn = Callable[[jax.Array, jax.Array], jax.Array]


class Preconditioning(NamedTuple):
    """Scalings of EDM's table 1, each with the shape of sigma."""

    c_skip: jax.Array
    c_out: jax.Array
    c_in: jax.Array


# sigma -> scalings: what the network sees, and what its output means.
Precondition = Callable[[jax.Array], Preconditioning]


def karras(sigma_data: float) -> Precondition:
    """Returns EDM's scalings, which keep the network's input and target at unit variance.

    Args:
        sigma_data: standard deviation of the images.

    Returns:
        c_skip, c_out and c_in (Karras et al. 2022, table 1, last column) as functions of sigma,
        positive, any shape.
    """

    def precondition(sigma: jax.Array) -> Preconditioning:
        variance = sigma**2 + sigma_data**2
        return Preconditioning(
            c_skip=sigma_data**2 / variance,
            c_out=sigma * sigma_data * jax.lax.rsqrt(variance),
            c_in=jax.lax.rsqrt(variance),
        )

    return precondition


def noise_prediction(sigma: jax.Array) -> Preconditioning:
    """Returns DDPM's scalings: the network estimates the noise (Karras et al. 2022, table 1, VP).

    c_in brings `x0 + sigma n` to DDPM's `sqrt(gamma) x0 + sqrt(1 - gamma) n`, with
    `gamma = 1 / (1 + sigma^2)`.
    """
    return Preconditioning(
        c_skip=jnp.ones_like(sigma), c_out=-sigma, c_in=jax.lax.rsqrt(1.0 + sigma**2)
    )


def image_prediction(sigma: jax.Array) -> Preconditioning:
    """Returns the scalings of a regression: the output is the answer, the noisy image unseen."""
    zeros = jnp.zeros_like(sigma)
    return Preconditioning(c_skip=zeros, c_out=jnp.ones_like(sigma), c_in=zeros)


def denoise(
    network: NetworkFn,
    noisy: jax.Array,
    sigma: jax.Array,
    condition: jax.Array,
    *,
    embed_sigma: Callable[[jax.Array], jax.Array],
    precondition: Precondition,
) -> jax.Array:
    """Estimates the clean image: `c_skip x + c_out F(c_in x, condition; c_noise)`.

    Args:
        network: F, called with `[B, H, W, 3 + K]` and c_noise `[B]`.
        noisy: `[B, H, W, 3]`, `x0 + sigma n`.
        sigma: `[B]`, the noise levels.
        condition: `[B, H, W, K]`.
        embed_sigma: the map from sigma to c_noise; SSIMBaD tells the network phi(sigma).
        precondition: the scalings, `karras` or another of this module.

    Returns:
        `[B, H, W, 3]`, an estimate of x0, not clipped (Karras et al. 2022, equation 7).
    """
    c_skip, c_out, c_in = (c[:, None, None, None] for c in precondition(sigma))
    output = network(jnp.concatenate([c_in * noisy, condition], axis=-1), embed_sigma(sigma))
    return c_skip * noisy + c_out * output
