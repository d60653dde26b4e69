"""Training losses: of the denoiser, and of what a sampler makes with it."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from ssimbad_jax.diffusion import denoiser

Weighting = Callable[[jax.Array], jax.Array]
# (a, b), each [B, H, W, 3] with [0, 1] for black to white -> [B]. Neither has to be clipped.
ImageDistance = Callable[[jax.Array, jax.Array], jax.Array]


def uniform_weighting(sigma: jax.Array) -> jax.Array:
    """No weight: SSIMBaD leaves the balance of noise levels to its sigma sampler."""
    return jnp.ones_like(sigma)


def output_weighting(precondition: denoiser.Precondition) -> Weighting:
    """Returns 1 / c_out^2: the squared error of the network's own output.

    With EDM's scalings every sigma has unit loss at initialisation (Karras et al. 2022, section 5);
    of a network that predicts noise it is DDPM's loss.
    """
    return lambda sigma: 1.0 / precondition(sigma).c_out ** 2


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


def squared_error(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean squared error of each image, an `ImageDistance`."""
    return jnp.mean((a - b) ** 2, axis=(1, 2, 3))


def clipped_squared_error(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean squared error of each image after clipping to [0, 1], an `ImageDistance`.

    The choice of the official code. A pixel that has once left [0, 1] gets no gradient any more,
    and stays: white holes in the faces.
    """
    return squared_error(jnp.clip(a, 0.0, 1.0), jnp.clip(b, 0.0, 1.0))


def bounded_squared_error(a: jax.Array, b: jax.Array) -> jax.Array:
    """Squared error of clipped pictures that pulls on what has left [0, 1], an `ImageDistance`.

    Outside of [0, 1] it goes on along the tangent, `(c - b)^2 + 2 (a - c) (c - b)` with
    c = clip(a). So it is convex, a pixel driven past white comes back, unlike with
    `clipped_squared_error`, and one that is to be white may lie anywhere beyond it, since pictures
    are clipped in the end.

    Args:
        a: `[B, H, W, 3]`.
        b: `[B, H, W, 3]` in [0, 1].
    """
    c = jnp.clip(a, 0.0, 1.0)
    return jnp.mean((c - b) ** 2 + 2.0 * (a - c) * (c - b), axis=(1, 2, 3))


def refinement_loss(
    sample: jax.Array, image: jax.Array, distances: Sequence[tuple[float, ImageDistance]]
) -> jax.Array:
    """Weighted sum of distances between what a sampler ended with and the target.

    Args:
        sample: `[B, H, W, 3]`, not clipped.
        image: `[B, H, W, 3]` in [-1, 1], the target x0.
        distances: each with its weight.

    Returns:
        `[B]` (Seo et al. 2025, section on trajectory refinement; its distance is
        `clipped_squared_error`).
    """
    a, b = (0.5 * (x + 1.0) for x in (sample, image))
    return jnp.stack([weight * distance(a, b) for weight, distance in distances]).sum(axis=0)
