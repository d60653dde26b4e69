"""Multistep samplers: of second order with one network call a step; and DDIM, of first order.

They remember D of the step before. With x = x0 + sigma n and lambda = -ln sigma, the solution of
the probability-flow ODE over a step of length h in lambda is

    x(lambda + h) = e^-h x(lambda) + integral from 0 to h of e^-(h - t) D(lambda + t) dt

(Lu et al. 2022, arXiv 2211.01095, proposition 4.1 with alpha = 1). The samplers differ in what they
take for D in the integral. The last step, to sigma 0, has no finite length; there, and where there
is no step before or one of length zero, all take D for constant.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssimbad_jax.diffusion import denoiser, samplers


class _Past(NamedTuple):
    """D of the step before and the length of that step in lambda; 0: there is none."""

    denoised: jax.Array
    length: jax.Array


class _Predicted(NamedTuple):
    """What UniPC carries: x, to be corrected to `base + weight D(x)` once D is known there."""

    x: jax.Array
    base: jax.Array
    weight: jax.Array
    past: _Past


def ddim(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    *,
    key: jax.Array | None = None,
    eta: float = 0.0,
    clip_denoised: bool = False,
    image_range: tuple[ArrayLike, ArrayLike] = (-1.0, 1.0),
    walk: samplers.Walk = samplers.walk,
) -> jax.Array:
    """Walks with DDIM's steps (Song et al. 2021, arXiv 2010.02502): one network call a step.

    With eta = 0 the steps are exactly Euler's, as that paper's section 4.3 notes; with eta = 1 each
    draws from the posterior of the forward process given x0 = D, as ancestral sampling does.

    Args:
        denoise: see `samplers.euler`, like the next two and `walk`.
        noise: `[B, H, W, C]`.
        sigma_grid: `[steps + 1]`.
        key: needed when `eta` is positive.
        eta: share of the ancestral noise, in [0, 1].
        clip_denoised: clip each D to `image_range`, but not the noise that it leaves, x - D, as
            AnimeDiffusion's code does. The noise of DDPM's ancestral step is x less the clipped D.
        image_range: least and largest value of an image, broadcast to it.
        walk: takes the steps.

    Returns:
        `[B, H, W, C]`, the image at the last sigma, not clipped.

    Raises:
        ValueError: eta is out of range or positive without a key, or the grid has fewer than two
            entries.
    """
    _check_eta(eta, key)

    def step(x: jax.Array, at: samplers.Step) -> tuple[jax.Array, samplers.Passed]:
        denoised = _denoise(denoise, x, at.sigma)
        x_next = _move(x, denoised, at, eta, key)
        if clip_denoised:
            x_next += jnp.clip(denoised, *image_range) - denoised
        return x_next, samplers.Passed(at.sigma, x, denoised)

    steps = samplers.grid_steps(sigma_grid, noise.dtype)
    return walk(step, steps.sigma[0] * noise, steps)


def dpmpp_2m(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    *,
    key: jax.Array | None = None,
    walk: samplers.Walk = samplers.walk,
) -> jax.Array:
    """Walks with DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): one network call a step.

    See `samplers.euler` for the arguments, the result and the errors. Nothing is drawn: the key is
    not used.
    """
    del key
    return _dpmpp_2m(denoise, noise, sigma_grid, 0.0, None, walk)


def dpmpp_2m_sde(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    *,
    key: jax.Array | None = None,
    walk: samplers.Walk = samplers.walk,
) -> jax.Array:
    """Walks with SDE-DPM-Solver++(2M) (Lu et al. 2022): one network call a step.

    The form of DPM-Solver++(2M) for the reverse SDE, which draws noise in every step but the last.
    See `samplers.euler` for the arguments, the result and the errors; the key is always needed.
    """
    return _dpmpp_2m(denoise, noise, sigma_grid, 1.0, key, walk)


def unipc(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    *,
    key: jax.Array | None = None,
    walk: samplers.Walk = samplers.walk,
) -> jax.Array:
    """Walks with UniPC-2 (Zhao et al. 2023, arXiv 2302.04867): one network call a step.

    Each step predicts with DPM-Solver++(2M), which is UniP-2 for data prediction and B(h) =
    e^h - 1. The D that the next step computes there first corrects that prediction (UniC-2), which
    makes the walk one of third order. See `samplers.euler` for the arguments, the result and the
    errors. Nothing is drawn: the key is not used.
    """
    del key

    def step(carry: _Predicted, at: samplers.Step) -> tuple[_Predicted, samplers.Passed]:
        denoised = _denoise(denoise, carry.x, at.sigma)
        x = carry.base + carry.weight * denoised
        length = _length(at)
        predicted = _move(x, _extrapolate(denoised, carry.past, length), at)
        weight, past_weight = _correction(at, length, carry.past.length)
        base = (
            _move(x, denoised, at)
            - weight * denoised
            + past_weight * (denoised - carry.past.denoised)
        )
        passed = samplers.Passed(at.sigma, carry.x, denoised)
        return _Predicted(predicted, base, weight, _Past(denoised, length)), passed

    steps = samplers.grid_steps(sigma_grid, noise.dtype)
    x = steps.sigma[0] * noise
    return walk(step, _Predicted(x, x, jnp.zeros((), x.dtype), _no_past(x)), steps).x


def _dpmpp_2m(
    denoise: denoiser.DenoiseFn,
    noise: jax.Array,
    sigma_grid: ArrayLike,
    eta: float,
    key: jax.Array | None,
    walk: samplers.Walk,
) -> jax.Array:
    """DDIM towards the D that the last two make expect in the middle of the step.

    For eta = 1 this is the SDE form, since its solution with D constant is the ancestral step:
    `x' = e^-2h x + (1 - e^-2h) D + sigma' sqrt(1 - e^-2h) z`.
    """
    _check_eta(eta, key)

    def step(
        carry: tuple[jax.Array, _Past], at: samplers.Step
    ) -> tuple[tuple[jax.Array, _Past], samplers.Passed]:
        x, past = carry
        denoised = _denoise(denoise, x, at.sigma)
        length = _length(at)
        x_next = _move(x, _extrapolate(denoised, past, length), at, eta, key)
        return (x_next, _Past(denoised, length)), samplers.Passed(at.sigma, x, denoised)

    steps = samplers.grid_steps(sigma_grid, noise.dtype)
    x = steps.sigma[0] * noise
    return walk(step, (x, _no_past(x)), steps)[0]


def _check_eta(eta: float, key: jax.Array | None) -> None:
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}; set it to a number from 0 to 1")
    if eta > 0 and key is None:
        raise ValueError("A sampler of the reverse SDE (eta above 0) draws noise: pass key=.")


def _denoise(denoise: denoiser.DenoiseFn, x: jax.Array, sigma: jax.Array) -> jax.Array:
    return denoise(x, jnp.broadcast_to(sigma, x.shape[:1]))


def _no_past(x: jax.Array) -> _Past:
    return _Past(jnp.zeros_like(x), jnp.zeros((), x.dtype))


def _length(at: samplers.Step) -> jax.Array:
    """Returns h; 0 for the step to sigma 0, so that all coefficients of higher order vanish."""
    return jnp.log(at.sigma / jnp.where(at.sigma_next > 0, at.sigma_next, at.sigma))


def _move(
    x: jax.Array,
    denoised: jax.Array,
    at: samplers.Step,
    eta: float = 0.0,
    key: jax.Array | None = None,
) -> jax.Array:
    """Goes to the next sigma as if D were constant: `D + s_down (x - D) / sigma + s_up z`.

    s_up = eta sigma' sqrt(1 - sigma'^2 / sigma^2), and s_down = sqrt(sigma'^2 - s_up^2), so that
    the noise in x' has standard deviation sigma'. It is Song et al. 2021, equations 12 and 16, for
    x = x0 + sigma n.
    """
    ratio = at.sigma_next / at.sigma
    if key is None or eta == 0:
        return denoised + ratio * (x - denoised)
    # In forms that cannot round below zero.
    kept = ratio * jnp.sqrt((1 - eta**2) + (eta * ratio) ** 2)
    added = eta * at.sigma_next * jnp.sqrt((1 - ratio) * (1 + ratio))
    return denoised + kept * (x - denoised) + added * samplers.draw_noise(key, at.number, x)


def _extrapolate(denoised: jax.Array, past: _Past, length: jax.Array) -> jax.Array:
    """Returns D in the middle of the step, on the line in lambda through the last two."""
    there = past.length > 0
    weight = jnp.where(there, length / (2 * jnp.where(there, past.length, 1)), 0)
    return denoised + weight * (denoised - past.denoised)


def _correction(at: samplers.Step, h: jax.Array, h_past: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the weights of UniC-2 for D' - D and D - D_past, beside a step with D constant.

    They integrate the parabola through D_past, D and D' against e^-(h - t). Without D_past it is
    UniC-1, with the weight B(h) / 2 of D' - D; without a length there is no correction.
    """
    constant = 1 - at.sigma_next / at.sigma  # integral of e^-(h - t)
    linear = h - constant  # of t e^-(h - t)
    square = h**2 - 2 * linear  # of t^2 e^-(h - t)
    moves, both = h > 0, (h > 0) & (h_past > 0)
    h, h_past = jnp.where(moves, h, 1), jnp.where(both, h_past, 1)
    first_order = jnp.where(moves, constant / 2, 0)
    weight = (linear * h_past + square) / (h * (h + h_past))
    past_weight = (linear * h - square) / (h_past * (h + h_past))
    return jnp.where(both, weight, first_order), jnp.where(both, past_weight, 0)
