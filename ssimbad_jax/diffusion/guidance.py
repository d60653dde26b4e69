"""Guidance: denoise functions in, one out whose samples obey what they are told more strongly.

Samplers take the result like any other denoise function. What conditions are, and what a loss
measures, is the caller's business.
"""

from collections.abc import Callable, Sequence

import jax

from ssimbad_jax.diffusion import denoiser


def weights(scales: Sequence[float]) -> tuple[float, ...]:
    """Returns what each estimate counts in classifier-free guidance with several conditions.

    `D = D_0 + sum_i w_i (D_i - D_(i-1))`, where `D_i` is told the first i conditions (Ho and
    Salimans 2022, equation 6; for two conditions Brooks et al. 2023, equation 3), sorted by
    estimates.

    Args:
        scales: w, one a condition; all 1 is no guidance.

    Returns:
        The weights of D_0, D_1, ...: one more than scales, with sum 1. An estimate of weight 0
        does not have to be made.
    """
    return tuple(now - then for now, then in zip((1.0, *scales), (*scales, 0.0), strict=True))


def classifier_free(
    estimates: Sequence[denoiser.DenoiseFn], scales: Sequence[float]
) -> denoiser.DenoiseFn:
    """Returns the weighted sum of estimates that are told more and more.

    Args:
        estimates: D_0, told nothing, to D_n, told all conditions.
        scales: w, one a condition; see `weights`.

    Returns:
        D; where a single estimate counts, that function itself.
    """
    used = [
        (weight, estimate)
        for weight, estimate in zip(weights(scales), estimates, strict=True)
        if weight
    ]
    if len(used) == 1:
        return used[0][1]

    def denoise(noisy: jax.Array, sigma: jax.Array) -> jax.Array:
        (weight, estimate), *others = used
        total = weight * estimate(noisy, sigma)
        for weight, estimate in others:
            total += weight * estimate(noisy, sigma)
        return total

    return denoise


def loss_guided(
    denoise: denoiser.DenoiseFn, loss: Callable[[jax.Array], jax.Array], scale: float
) -> denoiser.DenoiseFn:
    """Moves the denoised image down the gradient of a loss.

    The gradient is that of the denoised image itself, not of the noisy one through the network
    (Bansal et al. 2023, section 3.2, with one step; Chung et al. 2023 go through the network): it
    costs next to nothing.

    Args:
        denoise: D.
        loss: of a denoised image, `[B, H, W, C]` -> `[B]`.
        scale: length of the step, in units of the gradient.

    Returns:
        D minus scale times the gradient of the loss.
    """

    def guided(noisy: jax.Array, sigma: jax.Array) -> jax.Array:
        denoised = denoise(noisy, sigma)
        gradient = jax.grad(lambda image: loss(image).sum())(denoised)
        return denoised - scale * gradient

    return guided


def between(
    guided: denoiser.DenoiseFn, plain: denoiser.DenoiseFn, sigma_min: float, sigma_max: float
) -> denoiser.DenoiseFn:
    """Guides between two noise levels only (Kynkaanniemi et al. 2024).

    Args:
        guided: D within.
        plain: D elsewhere.
        sigma_min: lowest noise level that is guided.
        sigma_max: highest noise level that is guided.

    Returns:
        D, which calls one of the two. As in samplers, sigma `[B]` is the same for the whole batch.
    """

    def denoise(noisy: jax.Array, sigma: jax.Array) -> jax.Array:
        inside = (sigma[0] >= sigma_min) & (sigma[0] <= sigma_max)
        return jax.lax.cond(inside, guided, plain, noisy, sigma)

    return denoise
