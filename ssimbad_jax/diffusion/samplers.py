"""Samplers: a denoise function and a sigma grid in, an image out.

They know nothing of training or conditions. Both here are Algorithm 2 of Karras et al. 2022; Euler
leaves out its second-order correction. The multistep ones are in `diffusion.multistep`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssimbad_jax import streams
from ssimbad_jax.diffusion import denoiser

Sampler = Callable[..., jax.Array]
_Carry = TypeVar("_Carry")


class Step(NamedTuple):
    """One step of a walk, or all of them, stacked.

    Attributes:
        number: from 0.
        sigma: the noise level it starts from.
        sigma_next: the noise level it goes to.
    """

    number: jax.Array
    sigma: jax.Array
    sigma_next: jax.Array


class Passed(NamedTuple):
    """What a walk passes in a step, or in all of them.

    Attributes:
        sigma: `[]` or `[steps]`, the noise level, after churn.
        state: `[B, H, W, C]` or `[steps, B, H, W, C]`, x there.
        denoised: of the same shape, D(x; sigma), not clipped. After the last step, to sigma 0, x
            is D of that step.
    """

    sigma: jax.Array
    state: jax.Array
    denoised: jax.Array


StepFn = Callable[[Any, Any], tuple[Any, Passed]]
# (step, carry, steps) -> the carry after all of them. `walk` is the plain one;
# `diffusion.trajectory_gradient` has one whose gradient takes little memory.
Walk = Callable[[StepFn, Any, Any], Any]


def walk(step: Callable[[_Carry, Any], tuple[_Carry, Passed]], carry: _Carry, steps: Any) -> _Carry:
    """Takes all steps, as one `lax.scan`.

    Args:
        step: (carry, one entry of steps) -> (carry, what is passed).
        carry: the state before the first step.
        steps: a pytree of arrays with one entry a step, `Step` or more.

    Returns:
        The carry after the last step.
    """
    carry, _ = jax.lax.scan(lambda carry, inputs: (step(carry, inputs)[0], None), carry, steps)
    return carry


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


def euler(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    *,
    key: jax.Array | None = None,
    churn: Churn = Churn(),
    walk: Walk = walk,
) -> jax.Array:
    """Walks the probability-flow ODE with Euler steps: one network call a step.

    Args:
        denoise: D, called with `[B, H, W, C]` and sigma `[B]`.
        noise: `[B, H, W, C]`, standard normal; the walk starts from `sigma_grid[0] * noise`.
        sigma_grid: `[steps + 1]`, descending, the last entry 0; computed in float64 on the host.
        key: needed when `churn.amount` is positive; one, or one an image, `[B]`.
        churn: stochasticity.
        walk: takes the steps.

    Returns:
        `[B, H, W, C]`, the image at the last sigma, not clipped.

    Raises:
        ValueError: churn is asked for without a key, or the grid has fewer than two entries.
    """
    steps = grid_steps(sigma_grid, noise.dtype)
    step = _step(denoise, key, churn, len(steps.number), second_order=False)
    return walk(step, steps.sigma[0] * noise, steps)


def heun(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    *,
    key: jax.Array | None = None,
    churn: Churn = Churn(),
    walk: Walk = walk,
) -> jax.Array:
    """Walks the probability-flow ODE with Heun steps: `2 steps - 1` network calls.

    The last step, to sigma 0, is Euler's (Karras et al. 2022, Algorithm 2). See `euler` for the
    arguments, the result and the errors.
    """
    steps = grid_steps(sigma_grid, noise.dtype)
    count = len(steps.number)
    x = steps.sigma[0] * noise
    if count > 1:
        before_last = jax.tree.map(lambda entries: entries[:-1], steps)
        x = walk(_step(denoise, key, churn, count, second_order=True), x, before_last)
    # To sigma 0, where the slope is undefined, there is no correction.
    last = jax.tree.map(lambda entries: entries[-1:], steps)
    return walk(_step(denoise, key, churn, count, second_order=False), x, last)


def trajectory(
    sampler: Sampler,
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    **options: Any,
) -> Passed:
    """Returns what a sampler passes, `[steps, ...]`; all of it is kept: for a few images only.

    Args:
        sampler: any of this package's.
        denoise: see `euler`, like all others.
        noise: `[B, H, W, C]`.
        sigma_grid: `[steps + 1]`.
        **options: of the sampler.
    """
    parts: list[Passed] = []

    def recording_walk(step: StepFn, carry: Any, steps: Any) -> Any:
        carry, passed = jax.lax.scan(step, carry, steps)
        parts.append(passed)
        return carry

    sampler(denoise, noise, sigma_grid, walk=recording_walk, **options)
    return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)


def draw_noise(key: jax.Array, number: ArrayLike, like: jax.Array) -> jax.Array:
    """Returns standard normal noise with the shape and dtype of an image batch.

    Args:
        key: one, or keys `[B]`: then the noise of an image does not depend on its batch.
        number: of the draw.
        like: `[B, H, W, C]`.
    """
    key = streams.fold_in(key, number)
    if key.ndim:
        return jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(key)
    return jax.random.normal(key, like.shape, like.dtype)


def grid_steps(sigma_grid: ArrayLike, dtype: jnp.dtype) -> Step:
    """Returns the steps along a grid, stacked.

    Raises:
        ValueError: the grid has fewer than two entries.
    """
    grid = jnp.asarray(sigma_grid, dtype)
    if len(grid) < 2:
        raise ValueError(f"A sigma grid needs two entries or more, got {len(grid)}.")
    return Step(jnp.arange(len(grid) - 1), grid[:-1], grid[1:])


def _step(
    denoise: denoiser.DenoiseFn,
    key: jax.Array | None,
    churn: Churn,
    count: int,
    second_order: bool,
) -> Callable[[jax.Array, Step], tuple[jax.Array, Passed]]:
    """Returns a step of Algorithm 2, with or without its correction."""
    if churn.amount > 0 and key is None:
        raise ValueError("A sampler with churn draws noise: pass key=.")

    def estimate(x: jax.Array, sigma: jax.Array) -> jax.Array:
        return denoise(x, jnp.broadcast_to(sigma, x.shape[:1]))

    def step(x: jax.Array, at: Step) -> tuple[jax.Array, Passed]:
        sigma, sigma_next = at.sigma, at.sigma_next
        if key is not None and churn.amount > 0:
            x, sigma = _add_churn(draw_noise(key, at.number, x), x, sigma, churn, count)
        denoised = estimate(x, sigma)
        # dx/dsigma of the probability-flow ODE (Karras et al. 2022, equation 3).
        d = (x - denoised) / sigma
        x_next = x + (sigma_next - sigma) * d
        if second_order:
            d_next = (x_next - estimate(x_next, sigma_next)) / sigma_next
            x_next = x + (sigma_next - sigma) * 0.5 * (d + d_next)
        return x_next, Passed(sigma, x, denoised)

    return step


def _add_churn(
    noise: jax.Array, x: jax.Array, sigma: jax.Array, churn: Churn, steps: int
) -> tuple[jax.Array, jax.Array]:
    gamma_max = min(churn.amount / steps, 2**0.5 - 1)
    inside = (sigma >= churn.sigma_min) & (sigma <= churn.sigma_max)
    gamma = jnp.where(inside, gamma_max, 0.0)
    # sqrt(sigma_hat^2 - sigma^2), in the form that cannot round below zero.
    added = sigma * jnp.sqrt(gamma * (gamma + 2)) * churn.noise_scale
    return x + added * noise, sigma * (1 + gamma)
