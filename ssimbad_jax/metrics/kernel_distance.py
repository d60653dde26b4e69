"""Kernel distance between two sets of features (KID, Bińkowski et al. 2018)."""

import numpy as np

from ssimbad_jax.metrics import frechet


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the unbiased estimate of MMD^2 with the kernel `(x . y / D + 1)^3`, in float64.

    Unlike the Frechet distance its mean does not depend on the number of images; of close sets it
    can be below zero. All images are used at once, not blocks of them.

    Args:
        a: features [N, D], N at least 2.
        b: features [M, D], M at least 2.

    Returns:
        The squared maximum mean discrepancy.

    Raises:
        ValueError: the shapes do not fit.
    """
    frechet.check_features(a, b)
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(_mean_of_pairs(a) + _mean_of_pairs(b) - 2 * _kernel(a, b).mean())


def _mean_of_pairs(x: np.ndarray) -> float:
    """Returns the mean kernel of two different images of a set."""
    values = _kernel(x, x)
    return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3
