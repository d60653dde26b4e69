"""One dial between faithful and sharp: the posterior mean, and sampling that starts from it.

The mean over all images that fit a condition has the least squared error, and is blurred. A sampler
that starts from the mean with noise of a chosen sigma on it leaves what is coarser than this noise
to the mean, and draws what is finer: sigma 0 is the mean itself, and sigma_max is sampling from
pure noise. To re-noise an image and to sample from there is the idea of SDEdit (Meng et al. 2022,
arXiv 2108.01073).
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssimbad_jax.diffusion import denoiser, samplers


def posterior_mean(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_max: ArrayLike,
    *,
    draws: int = 1,
    key: jax.Array | None = None,
) -> jax.Array:
    """Denoises pure noise, `D(sigma_max n; sigma_max)`: one network call a draw.

    At sigma_max next to nothing of the image is left, so this is the mean over all images that
    fit the condition: faithful and blurred. A trained network's answers to different noise differ
    a little all the same; their average is nearer to the mean.

    Args:
        denoise: D, called with `[B, H, W, C]` and sigma `[B]`.
        noise: `[B, H, W, C]`, standard normal, of the first draw.
        sigma_max: the largest noise level.
        draws: answers to average.
        key: of the noise of the other draws; one, or one an image, `[B]`.

    Returns:
        `[B, H, W, C]`, not clipped.

    Raises:
        ValueError: draws is less than 1, or more without a key.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; average 1 or more")
    if draws > 1 and key is None:
        raise ValueError("The mean of several draws draws noise: pass key=.")
    sigma = jnp.asarray(sigma_max, noise.dtype)

    def denoised(noise: jax.Array) -> jax.Array:
        return denoise(sigma * noise, jnp.broadcast_to(sigma, noise.shape[:1]))

    if key is None or draws == 1:
        return denoised(noise)

    def add(total: jax.Array, draw: jax.Array) -> tuple[jax.Array, None]:
        # Chosen here, so that the network is compiled once.
        drawn = jnp.where(draw == 0, noise, samplers.draw_noise(key, draw, noise))
        return total + denoised(drawn), None

    total, _ = jax.lax.scan(add, jnp.zeros_like(noise), jnp.arange(draws))
    return total / draws


def starting_from(sampler: samplers.Sampler, image: jax.Array) -> samplers.Sampler:
    """Returns a sampler that starts from `image + sigma_grid[0] * noise`.

    All samplers take the same way if the image, the noisy image and D are shifted alike. So the
    sampler is given the shifted denoiser `y -> D(y + image) - image`, and starts from noise alone.
    Where it clips D, the range of images is shifted, too.

    Args:
        sampler: any of this package's.
        image: `[B, H, W, C]`, such as the posterior mean.

    Returns:
        A sampler with the arguments and options of the one given. Clipping has to be asked for
        here, as an option of the call.
    """

    def start(
        denoise: denoiser.DenoiseFn,
        noise: jax.Array,
        sigma_grid: ArrayLike,
        *,
        walk: samplers.Walk = samplers.walk,
        **options: Any,
    ) -> jax.Array:
        def shifted_denoise(shifted: jax.Array, sigma: jax.Array) -> jax.Array:
            return denoise(shifted + image, sigma) - image

        def shifted_walk(step: samplers.StepFn, carry: Any, steps: Any) -> Any:
            def shifted_back(carry: Any, at: Any) -> tuple[Any, samplers.Passed]:
                carry, passed = step(carry, at)
                return carry, samplers.Passed(
                    passed.sigma, passed.state + image, passed.denoised + image
                )

            return walk(shifted_back, carry, steps)

        if options.get("clip_denoised"):
            low, high = options.get("image_range", (-1.0, 1.0))
            options["image_range"] = (low - image, high - image)
        options["walk"] = shifted_walk
        return image + sampler(shifted_denoise, noise, sigma_grid, **options)

    return start
