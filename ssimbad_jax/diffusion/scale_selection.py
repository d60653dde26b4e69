"""Choosing a sigma scale from curves of SSIM against sigma: R^2, the best c, the linear table.

NumPy on the host, in float64. Curves come as arrays whose last axis runs over a common grid of
noise levels. Cubic splines in log sigma, fitted by least squares, give other noise levels and
average the noise of neighbouring ones.
"""

import dataclasses
import functools

import numpy as np
from scipy import interpolate, optimize

from ssimbad_jax.diffusion import sigma_scale

# Points at which the official protocol samples each scale.
OFFICIAL_POINTS = 50
# Most pieces of a fitted spline; curves of SSIM need about half as many between 0.002 and 80.
SPLINE_PIECES = 32
# Least fall of the mean SSIM that a table is made of.
SMALLEST_FALL = 1e-3
# Range in which the best c is sought.
SMALLEST_C, LARGEST_C = 1e-3, 1e2


@dataclasses.dataclass(frozen=True)
class SsimCurves:
    """SSIM between images and their noised selves at common noise levels.

    Attributes:
        sigma: [S] noise levels, increasing, S >= 4.
        ssim: [..., S] one curve for each image (and draw).

    Raises:
        ValueError: the arrays are not as described.
    """

    sigma: np.ndarray
    ssim: np.ndarray

    def __post_init__(self) -> None:
        """Checks the arrays."""
        if self.sigma.ndim != 1 or self.sigma.size < 4 or self.ssim.shape[-1:] != self.sigma.shape:
            raise ValueError(
                "SSIM curves need at least 4 noise levels and one value at each; the shapes are "
                f"{self.sigma.shape} and {self.ssim.shape}"
            )
        if self.sigma[0] <= 0 or not np.all(np.diff(self.sigma) > 0):
            raise ValueError("the noise levels of SSIM curves must be positive and increasing")

    @functools.cached_property
    def _spline(self) -> interpolate.BSpline:
        """The fitted curves, as functions of log sigma, their axis first."""
        x = np.log(self.sigma)
        pieces = min(SPLINE_PIECES, max(1, len(x) // 3))
        breaks = np.linspace(x[0], x[-1], pieces + 1)
        knots = np.concatenate([breaks[:1].repeat(3), breaks, breaks[-1:].repeat(3)])
        return interpolate.make_lsq_spline(x, np.moveaxis(self.ssim, -1, 0), knots, k=3)

    def at(self, sigma: np.ndarray) -> np.ndarray:
        """Returns the curves at noise levels [P], clipped to the measured range: [..., P]."""
        inside = np.clip(sigma, self.sigma[0], self.sigma[-1])
        return np.moveaxis(self._spline(np.log(inside)), 0, -1)

    def mean(self) -> "SsimCurves":
        """Returns the mean curve, of shape [S]."""
        axes = tuple(range(self.ssim.ndim - 1))
        return SsimCurves(self.sigma, self.ssim.mean(axis=axes, dtype=np.float64))


def even_grid(
    scale: sigma_scale.SigmaScale, sigma_min: float, sigma_max: float, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (u, sigma), both float64 [points]: u even from phi(sigma_min) to phi(sigma_max)."""
    u = np.linspace(scale.forward(sigma_min), scale.forward(sigma_max), points)
    return u, scale.inverse(u)


def r_squared(u: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns R^2 of the straight line fitted to values [..., P] against u [P]: [...].

    A constant is a straight line: its R^2 is 1.
    """
    u = u - u.mean()
    values = values - values.mean(axis=-1, keepdims=True)
    total = np.sum(values**2, axis=-1)
    explained = np.sum(u * values, axis=-1) ** 2 / np.sum(u**2)
    return np.where(total > 0, explained / np.where(total > 0, total, 1.0), 1.0)


def scale_r2(
    scale: sigma_scale.SigmaScale,
    curves: SsimCurves,
    points: int = OFFICIAL_POINTS,
) -> np.ndarray:
    """Returns R^2 of SSIM against u for each curve, by the official protocol: [...].

    A scale is judged at noise levels even in its own u, over the range of the curves.
    """
    u, sigma = even_grid(scale, curves.sigma[0], curves.sigma[-1], points)
    return r_squared(u, curves.at(sigma))


def best_c(curves: SsimCurves) -> float:
    """Returns the c of sigma / (sigma + c) with the largest mean R^2 by the official protocol.

    A coarse search over `SMALLEST_C` to `LARGEST_C` finds the neighbourhood, Brent's method the
    maximum.
    """

    def loss(log_c: float) -> float:
        return -float(scale_r2(sigma_scale.rational(float(np.exp(log_c))), curves).mean())

    coarse = np.linspace(np.log(SMALLEST_C), np.log(LARGEST_C), 47)
    nearest = int(np.argmin([loss(log_c) for log_c in coarse]))
    bounds = coarse[max(nearest - 1, 0)], coarse[min(nearest + 1, len(coarse) - 1)]
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(found.x))


def linear_table(curves: SsimCurves) -> tuple[np.ndarray, np.ndarray]:
    """Returns knots (sigma, u) of the scale along which the mean SSIM falls linearly from 0 to 1.

    u = (SSIM(sigma_min) - SSIM(sigma)) / (SSIM(sigma_min) - SSIM(sigma_max)), the mean SSIM being
    made monotone by regression first. Noise levels of equal SSIM are merged into one knot.

    Raises:
        ValueError: the mean SSIM falls by less than `SMALLEST_FALL`.
    """
    mean = curves.mean()
    smooth = mean.at(mean.sigma)
    falling = optimize.isotonic_regression(smooth, increasing=False).x
    fall = falling[0] - falling[-1]
    if fall < SMALLEST_FALL:
        raise ValueError(
            f"the mean SSIM falls by {fall:.3g} from the smallest to the largest noise level, too "
            "little to make it linear; widen the range of sigma"
        )
    u = (falling[0] - falling) / fall
    levels, block = np.unique(u, return_inverse=True)
    log_sigma = np.bincount(block, np.log(mean.sigma)) / np.bincount(block)
    sigma = np.exp(log_sigma)
    sigma[0], sigma[-1] = mean.sigma[0], mean.sigma[-1]
    return sigma, levels
