"""Noise schedules: how sigma is drawn in training, told to the network, and walked in sampling.

EDM (Karras et al. 2022, arXiv 2206.00364, table 1) answers with three unrelated scales. SSIMBaD
(Seo et al. 2025, arXiv 2506.04283) uses one scale phi, chosen for the data, three times. DDPM
(Ho et al. 2020, arXiv 2006.11239) has a table of noise levels and uses its index three times.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssimbad_jax.diffusion import sigma_scale


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The three uses of the noise level.

    Attributes:
        sample_sigma: (key, shape) -> float32 sigma of that shape, drawn for training.
        embed_sigma: sigma -> c_noise of the same shape, what the network is told.
        sigma_grid: steps -> float64 [steps + 1] NumPy array, the noise levels that sampling walks:
            from sigma_max down to sigma_min, then 0; DDPM's ends at its smallest noise level. A
            second argument is the noise level to start from instead of sigma_max. Raises
            ValueError if steps < 1 or too many, or the start is out of range.
        sigma_min: smallest noise level, above 0.
        sigma_max: largest noise level.
        start_scale: sigma -> standard deviation of what a walk from pure noise starts with there.
    """

    sample_sigma: Callable[[jax.Array, tuple[int, ...]], jax.Array]
    embed_sigma: Callable[[jax.Array], jax.Array]
    sigma_grid: Callable[..., np.ndarray]
    sigma_min: float
    sigma_max: float
    start_scale: Callable[[ArrayLike], ArrayLike] = lambda sigma: sigma

    def start(self, noise: jax.Array, sigma: ArrayLike) -> jax.Array:
        """Returns what samplers start a walk from pure noise with, at sigma and in units of it."""
        return jnp.asarray(self.start_scale(sigma) / sigma, noise.dtype) * noise


def ssimbad(
    scale: sigma_scale.SigmaScale, sigma_min: float = 0.002, sigma_max: float = 80.0
) -> Schedule:
    """Returns the SSIMBaD schedule: u = phi(sigma) is uniform, the network's input, and the grid.

    Args:
        scale: phi.
        sigma_min: smallest noise level, above 0.
        sigma_max: largest noise level.

    Raises:
        ValueError: not 0 < sigma_min < sigma_max.
    """
    _check_range(sigma_min, sigma_max)
    u_min, u_max = float(scale.forward(sigma_min)), float(scale.forward(sigma_max))

    def sample_sigma(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        u = u_min + (u_max - u_min) * jax.random.uniform(key, shape)
        # Rounding may carry sigma past the ends.
        return jnp.clip(scale.inverse(u), sigma_min, sigma_max)

    def sigma_grid(steps: int, start: float = sigma_max) -> np.ndarray:
        _check_grid(steps, start, sigma_min, sigma_max)
        sigma = scale.inverse(np.linspace(float(scale.forward(start)), u_min, steps))
        return np.append(np.clip(sigma, sigma_min, start), 0.0)

    return Schedule(sample_sigma, scale.forward, sigma_grid, sigma_min, sigma_max)


def edm(
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
    p_mean: float = -1.2,
    p_std: float = 1.2,
) -> Schedule:
    """Returns EDM's schedule (Karras et al. 2022, table 1, column "Ours").

    Args:
        sigma_min: smallest noise level of the grid, above 0.
        sigma_max: largest noise level of the grid.
        rho: the grid is even in sigma^(1/rho).
        p_mean: mean of ln sigma in training. Training is not limited to the grid's range.
        p_std: standard deviation of ln sigma in training.

    Raises:
        ValueError: not 0 < sigma_min < sigma_max, or rho or p_std not positive.
    """
    _check_range(sigma_min, sigma_max)
    for name, value in (("rho", rho), ("p_std", p_std)):
        if not value > 0:
            raise ValueError(f"{name} is {value}; it must be positive")

    def sample_sigma(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jnp.exp(p_mean + p_std * jax.random.normal(key, shape))

    def embed_sigma(sigma: jax.Array) -> jax.Array:
        return jnp.log(sigma) / 4.0

    def sigma_grid(steps: int, start: float = sigma_max) -> np.ndarray:
        _check_grid(steps, start, sigma_min, sigma_max)
        root = np.linspace(start ** (1 / rho), sigma_min ** (1 / rho), steps)
        return np.append(np.clip(root**rho, sigma_min, start), 0.0)

    return Schedule(sample_sigma, embed_sigma, sigma_grid, sigma_min, sigma_max)


def ddpm(num_levels: int = 1000, beta_first: float = 1e-6, beta_last: float = 1e-2) -> Schedule:
    """Returns DDPM's schedule with linear betas, by default AnimeDiffusion's (Cao et al. 2024).

    With `x_t = sqrt(gamma_t) x0 + sqrt(1 - gamma_t) n`, gamma_t the product of 1 - beta up to t,
    `x_t / sqrt(gamma_t)` has the noise level `sigma_t = sqrt(1 / gamma_t - 1)`. Training draws t
    uniformly, the network is told t, and a walk of k steps goes through the indices 1 + i (N // k),
    i < k, to index 0. Between the levels of the table t is interpolated in ln sigma.

    Args:
        num_levels: N.
        beta_first: of index 0.
        beta_last: of index N - 1.

    Raises:
        ValueError: fewer than 2 levels, or not 0 < beta_first <= beta_last < 1.
    """
    if num_levels < 2 or not 0 < beta_first <= beta_last < 1:
        raise ValueError(
            f"num_levels is {num_levels}, beta_first {beta_first} and beta_last {beta_last}; "
            "choose 2 levels or more and 0 < beta_first <= beta_last < 1"
        )
    # 1 / gamma - 1 without cancellation where gamma is near 1.
    log_gamma = np.cumsum(np.log1p(-np.linspace(beta_first, beta_last, num_levels)))
    table = np.sqrt(np.expm1(-log_gamma))
    sigma_min, sigma_max = float(table[0]), float(table[-1])

    def sample_sigma(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jnp.asarray(table, jnp.float32)[jax.random.randint(key, shape, 0, num_levels)]

    def embed_sigma(sigma: jax.Array) -> jax.Array:
        levels = jnp.asarray(np.log(table), jnp.float32)
        return jnp.interp(jnp.log(sigma), levels, jnp.arange(num_levels, dtype=jnp.float32))

    def sigma_grid(steps: int, start: float = sigma_max) -> np.ndarray:
        _check_grid(steps, start, sigma_min, sigma_max)
        levels = int(np.searchsorted(table, start * (1 + 1e-9), side="right"))
        if steps >= levels:
            raise ValueError(f"steps is {steps}; there are {levels - 1} noise levels to walk")
        passed = 1 + np.arange(steps) * (levels // steps)
        return table[np.append(passed[::-1], 0)]

    # Pure noise stands for x_t itself, which has unit variance.
    return Schedule(
        sample_sigma,
        embed_sigma,
        sigma_grid,
        sigma_min,
        sigma_max,
        start_scale=lambda sigma: (1 + jnp.square(sigma)) ** 0.5,
    )


def single(sigma: float = 80.0) -> Schedule:
    """Returns the schedule of a network that answers at once: one noise level, one step.

    Args:
        sigma: the noise level.

    Raises:
        ValueError: sigma is not positive.
    """
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}; it must be positive")

    def sigma_grid(steps: int, start: float = sigma) -> np.ndarray:
        if steps != 1 or start != sigma:
            raise ValueError(
                f"steps is {steps} and start {start}; a schedule with the single noise level "
                f"{sigma} has 1 step, from there"
            )
        return np.array([sigma, 0.0])

    return Schedule(
        sample_sigma=lambda key, shape: jnp.full(shape, sigma, jnp.float32),
        embed_sigma=jnp.zeros_like,
        sigma_grid=sigma_grid,
        sigma_min=sigma,
        sigma_max=sigma,
    )


def sub_grid(grid: np.ndarray, steps: int) -> np.ndarray:
    """Returns the points floor(linspace(0, N, steps + 1)) of an N-step grid.

    The official code samples in few steps by walking a part of a long grid, which differs from a
    short grid of its own: the last step starts well above sigma_min.

    Args:
        grid: [N + 1] noise levels, descending.
        steps: steps to walk, at least 1 and at most N.

    Returns:
        [steps + 1] noise levels with the grid's first and last.

    Raises:
        ValueError: steps is out of range.
    """
    length = len(grid) - 1
    if not 1 <= steps <= length:
        raise ValueError(f"steps is {steps}; a grid of {length} steps has 1 to {length} to walk")
    # Integer arithmetic: the floor of a rounded quotient may be one too small.
    return grid[np.arange(steps + 1) * length // steps]


def _check_range(sigma_min: float, sigma_max: float) -> None:
    if not 0 < sigma_min < sigma_max:
        raise ValueError(
            f"sigma_min is {sigma_min} and sigma_max {sigma_max}; choose 0 < sigma_min < sigma_max"
        )


def _check_grid(steps: int, start: float, sigma_min: float, sigma_max: float) -> None:
    if steps < 1:
        raise ValueError(f"steps is {steps}; a grid needs at least 1 step")
    if not sigma_min < start <= sigma_max:
        raise ValueError(
            f"start is {start}; a grid starts above sigma_min = {sigma_min} and at most at "
            f"sigma_max = {sigma_max}"
        )
