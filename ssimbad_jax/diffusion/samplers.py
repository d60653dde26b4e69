"""Samplers: a denoise function and a sigma grid in, an image out.

They know nothing of training or conditions. Both are Algorithm 2 of Karras et al. 2022; Euler
leaves out its second-order correction. The walk is one `lax.scan`, compiled once a shape.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssimbad_jax.diffusion import denoiser

Sampler = Callable[..., jax.Array]


@dataclasses.dataclass(frozen=True)
class Churn:
    """Stochasticity of Algorithm 2 (Karras et al. 2022, section 4); off by default.

    Attributes:
        amount: S_churn; the noise level is raised by a factor of at most `amount / steps` a step.
        sigma_min: S_tmin, below which no noise is added.
        sigma_max: S_tmax, above which no noise is added.
        noise_scale: S_noise, standard deviation of the added noise.
    """

    amount: float = 0.0
    sigma_min: float = 0.0
    sigma_max: float = float("inf")
    noise_scale: float = 1.0


class Trajectory(NamedTuple):
    """What a walk passes, one entry a step.

    Attributes:
        sigmas: `[steps]`, the noise levels, after churn.
        states: `[steps, B, H, W, C]`, x at each of them.
        denoised: `[steps, B, H, W, C]`, D(x; sigma) there, not clipped; after the last step, which
            is Euler's to sigma 0, x is the last of them.
    """

    sigmas: jax.Array
    states: jax.Array
    denoised: jax.Array


def euler(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    *,
    key: jax.Array | None = None,
    churn: Churn = Churn(),
) -> jax.Array:
    """Walks the probability-flow ODE with Euler steps: one network call a step.

    Args:
        denoise: D, called with `[B, H, W, C]` and sigma `[B]`.
        noise: `[B, H, W, C]`, standard normal; the walk starts from `sigma_grid[0] * noise`.
        sigma_grid: `[steps + 1]`, descending, the last entry 0; computed in float64 on the host.
        key: needed when `churn.amount` is positive.
        churn: stochasticity.

    Returns:
        `[B, H, W, C]`, the image at the last sigma, not clipped.

    Raises:
        ValueError: churn is asked for without a key, or the grid has fewer than two entries.
    """
    x, _ = _walk(denoise, noise, sigma_grid, key, churn, second_order=False, record=False)
    return x


def heun(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    *,
    key: jax.Array | None = None,
    churn: Churn = Churn(),
) -> jax.Array:
    """Walks the probability-flow ODE with Heun steps: `2 steps - 1` network calls.

    The last step, to sigma 0, is Euler's (Karras et al. 2022, Algorithm 2). See `euler` for the
    arguments, the result and the errors.
    """
    x, _ = _walk(denoise, noise, sigma_grid, key, churn, second_order=True, record=False)
    return x


def trajectory(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    *,
    second_order: bool,
    key: jax.Array | None = None,
    churn: Churn = Churn(),
) -> Trajectory:
    """Walks like `euler`, or like `heun` if `second_order`, and returns what it passes.

    All steps are kept: for a few images only. See `euler` for the other arguments and the errors.
    """
    _, passed = _walk(denoise, noise, sigma_grid, key, churn, second_order, record=True)
    assert passed is not None
    return passed


def posterior_mean(
    denoise: denoiser.DenoiseFn, noise: jax.Array, sigma_max: ArrayLike
) -> jax.Array:
    """Denoises pure noise in one call: `D(sigma_max n; sigma_max)`.

    At sigma_max next to nothing of the image is left, so this is the mean over all images that
    fit the condition: faithful and blurred.
    """
    sigma = jnp.asarray(sigma_max, noise.dtype)
    return denoise(sigma * noise, jnp.broadcast_to(sigma, noise.shape[:1]))


def _walk(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    key: jax.Array | None,
    churn: Churn,
    second_order: bool,
    record: bool,
) -> tuple[jax.Array, Trajectory | None]:
    grid = jnp.asarray(sigma_grid, noise.dtype)
    steps = grid.shape[0] - 1
    if steps < 1:
        raise ValueError(f"A sigma grid needs two entries or more, got {grid.shape[0]}.")
    if churn.amount > 0 and key is None:
        raise ValueError("A sampler with churn draws noise: pass key=.")

    def estimate(x: jax.Array, sigma: jax.Array) -> jax.Array:
        return denoise(x, jnp.broadcast_to(sigma, x.shape[:1]))

    def step(
        x: jax.Array, index: jax.Array, sigma: jax.Array, sigma_next: jax.Array, correct: bool
    ) -> tuple[jax.Array, Trajectory | None]:
        if key is not None and churn.amount > 0:
            x, sigma = _add_churn(jax.random.fold_in(key, index), x, sigma, churn, steps)
        denoised = estimate(x, sigma)
        # dx/dsigma of the probability-flow ODE (Karras et al. 2022, equation 3).
        d = (x - denoised) / sigma
        x_next = x + (sigma_next - sigma) * d
        if correct:
            d_next = (x_next - estimate(x_next, sigma_next)) / sigma_next
            x_next = x + (sigma_next - sigma) * 0.5 * (d + d_next)
        return x_next, Trajectory(sigma, x, denoised) if record else None

    # The last step goes to sigma 0, where the slope is undefined: it is always Euler's.
    index = jnp.arange(steps)
    x, passed = jax.lax.scan(
        lambda x, inputs: step(x, *inputs, correct=second_order),
        grid[0] * noise,
        (index[:-1], grid[:-2], grid[1:-1]),
    )
    x, last = step(x, index[-1], grid[-2], grid[-1], correct=False)
    passed = jax.tree.map(lambda first, end: jnp.append(first, end[None], axis=0), passed, last)
    return x, passed


def _add_churn(
    key: jax.Array, x: jax.Array, sigma: jax.Array, churn: Churn, steps: int
) -> tuple[jax.Array, jax.Array]:
    gamma_max = min(churn.amount / steps, 2**0.5 - 1)
    inside = (sigma >= churn.sigma_min) & (sigma <= churn.sigma_max)
    gamma = jnp.where(inside, gamma_max, 0.0)
    # sqrt(sigma_hat^2 - sigma^2), in the form that cannot round below zero.
    added = sigma * jnp.sqrt(gamma * (gamma + 2)) * churn.noise_scale
    return x + added * jax.random.normal(key, x.shape, x.dtype), sigma * (1 + gamma)
