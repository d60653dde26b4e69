"""Sigma scales: monotone maps phi from the noise level sigma to the scale's coordinate u.

SSIMBaD (Seo et al. 2025, arXiv 2506.04283) chooses the phi along which the SSIM between a picture
and its noised self falls most linearly. `CANDIDATES` are the 22 scales that the paper compares,
`rational(c)` is the family its winner comes from, and `tabulated` is any increasing curve.

Every scale takes NumPy arrays and Python floats, and then computes with NumPy in the precision
given (float64 for grids), or JAX arrays, traced ones included, and then computes with `jnp`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import interpolate

# Power of the candidate "σᵖ / (σᵖ + 1)".
POWER = 1.5
# Largest u that the inverses of tanh and sigmoid accept: at 1 they would be infinite.
SATURATION = 1.0 - 1e-6
# Segments of a tabulated scale, evenly spaced in log sigma.
TABLE_SEGMENTS = 4096


@dataclasses.dataclass(frozen=True)
class SigmaScale:
    """A monotone map phi from sigma to u, with its inverse.

    Attributes:
        name: what tables and pictures call it.
        forward: phi; sigma > 0 of any shape -> u of the same shape and kind of array.
        inverse: phi^-1; u -> sigma. It undoes `forward` up to rounding, except that tanh and
            sigmoid, which saturate, first clip u to `SATURATION`.
    """

    name: str
    forward: Callable[[Any], Any]
    inverse: Callable[[Any], Any]


def _scale(
    name: str, forward: Callable[[Any, Any], Any], inverse: Callable[[Any, Any], Any]
) -> SigmaScale:
    """Builds a scale from functions of (array library, values)."""

    def choose_library(function: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
        return lambda x: function(jnp if isinstance(x, jax.Array) else np, x)

    return SigmaScale(name, choose_library(forward), choose_library(inverse))


def rational(c: float) -> SigmaScale:
    """Returns phi(sigma) = sigma / (sigma + c), the paper's family; its winner has c = 0.3.

    Args:
        c: the sigma at which u is one half, on the scale of images in [-1, 1].

    Raises:
        ValueError: c is not a positive finite number.
    """
    if not (math.isfinite(c) and c > 0):
        raise ValueError(f"c of the rational scale is {c}; it must be a positive finite number")
    return _scale(
        f"σ / (σ + {float(f'{c:.4g}')})",
        lambda _, sigma: sigma / (sigma + c),
        lambda _, u: c * u / (1.0 - u),
    )


def tabulated(sigma_knots: Any, u_knots: Any, name: str = "table") -> SigmaScale:
    """Returns the scale through given knots, monotone cubic (PCHIP) in log sigma.

    The cubic is sampled once, at `TABLE_SEGMENTS` segments, and both directions interpolate these
    samples linearly, so that they are exact inverses of each other. Outside the knots u and sigma
    are clipped to the range of the knots.

    Args:
        sigma_knots: [K] positive, strictly increasing, K >= 2.
        u_knots: [K] strictly increasing.
        name: what tables and pictures call the scale.

    Raises:
        ValueError: the knots are not as described.
    """
    sigma = np.asarray(sigma_knots, np.float64)
    u = np.asarray(u_knots, np.float64)
    if sigma.ndim != 1 or sigma.shape != u.shape or sigma.size < 2:
        raise ValueError(
            "sigma_knots and u_knots must be vectors of one length of at least 2; "
            f"their shapes are {sigma.shape} and {u.shape}"
        )
    for knots, values in (("sigma_knots", sigma), ("u_knots", u)):
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{knots} holds values that are not finite; remove these knots")
        if not np.all(np.diff(values) > 0):
            index = int(np.argmax(np.diff(values) <= 0))
            raise ValueError(
                f"{knots} must increase strictly, but entry {index + 1} ({values[index + 1]:g}) "
                f"follows {values[index]:g}; sort the knots and merge equal ones"
            )
    if sigma[0] <= 0:
        raise ValueError(f"sigma_knots must be positive; the first is {sigma[0]:g}")

    log_sigma = np.linspace(np.log(sigma[0]), np.log(sigma[-1]), TABLE_SEGMENTS + 1)
    curve = interpolate.PchipInterpolator(np.log(sigma), u)(log_sigma)
    curve[0], curve[-1] = u[0], u[-1]
    kept = _distinct_in_float32(curve)
    log_sigma, curve = log_sigma[kept], curve[kept]

    def forward(xp: Any, sigma: Any) -> Any:
        x = xp.log(sigma)
        return xp.interp(x, xp.asarray(log_sigma, x.dtype), xp.asarray(curve, x.dtype))

    def inverse(xp: Any, u: Any) -> Any:
        u = xp.asarray(u) * 1.0  # whole numbers, too
        return xp.exp(xp.interp(u, xp.asarray(curve, u.dtype), xp.asarray(log_sigma, u.dtype)))

    return _scale(name, forward, inverse)


def _distinct_in_float32(values: np.ndarray) -> np.ndarray:
    """Returns indices, first and last included, at which rising values differ clearly in float32.

    Where a curve is nearly flat, neighbours closer than a few roundings would make the slope of the
    inverse arbitrary.
    """
    kept = [0]
    for i, value in enumerate(values):
        if value - values[kept[-1]] > 16 * np.finfo(np.float32).eps * abs(value):
            kept.append(i)
    if kept[-1] != len(values) - 1:
        # The last sample is too close to the last one kept, and takes its place.
        kept[-1 if len(kept) > 1 else len(kept) :] = [len(values) - 1]
    return np.asarray(kept)


_ELEMENTARY = (
    _scale("σ", lambda _, sigma: 1.0 * sigma, lambda _, u: 1.0 * u),
    _scale("log(σ)", lambda xp, sigma: xp.log(sigma), lambda xp, u: xp.exp(u)),
    _scale("log1p(σ)", lambda xp, sigma: xp.log1p(sigma), lambda xp, u: xp.expm1(u)),
    _scale("σ²", lambda _, sigma: sigma * sigma, lambda xp, u: xp.sqrt(u)),
    _scale("1/σ", lambda _, sigma: 1.0 / sigma, lambda _, u: 1.0 / u),
    _scale("1/σ²", lambda _, sigma: 1.0 / (sigma * sigma), lambda xp, u: 1.0 / xp.sqrt(u)),
    _scale("arcsinh(σ)", lambda xp, sigma: xp.arcsinh(sigma), lambda xp, u: xp.sinh(u)),
    _scale(
        "tanh(σ)",
        lambda xp, sigma: xp.tanh(sigma),
        lambda xp, u: xp.arctanh(xp.minimum(u, SATURATION)),
    ),
    _scale(
        "sigmoid(σ)",
        lambda xp, sigma: 1.0 / (1.0 + xp.exp(-sigma)),
        # 2 u - 1 is exact, unlike u / (1 - u) near one half.
        lambda xp, u: 2.0 * xp.arctanh(2.0 * xp.minimum(u, SATURATION) - 1.0),
    ),
    _scale(
        "σᵖ / (σᵖ + 1)",
        lambda _, sigma: sigma**POWER / (sigma**POWER + 1.0),
        lambda _, u: (u / (1.0 - u)) ** (1.0 / POWER),
    ),
    _scale(
        "log(σ² + 1)",
        lambda xp, sigma: xp.log1p(sigma * sigma),
        lambda xp, u: xp.sqrt(xp.expm1(u)),
    ),
    _scale("atan(σ)", lambda xp, sigma: xp.arctan(sigma), lambda xp, u: xp.tan(u)),
)

# The scales the paper compares, by name.
CANDIDATES: dict[str, SigmaScale] = {
    scale.name: scale
    for scale in (*_ELEMENTARY, *(rational(tenths / 10) for tenths in range(1, 11)))
}
