"""Frechet distance between two sets of features (Heusel et al. 2017; Dowson and Landau 1982).

Both sets are described by their mean and covariance. On features of the Inception network of 2015
this is the Frechet Inception distance, on others it is not.
"""

import numpy as np
import scipy.linalg


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Returns `|mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`, in float64.

    The trace of the root is the sum of the singular values of F_a F_b^T for any F with F^T F = C.
    Covariances of fewer vectors than dimensions, which have no inverse, need nothing added, and
    the cost follows the smaller of both numbers. The value is biased: it grows as the sets get
    smaller, so only sets of equal sizes compare.

    Args:
        a: features [N, D], N at least 2.
        b: features [M, D], M at least 2.

    Returns:
        The distance, 0 or more.

    Raises:
        ValueError: the shapes do not fit.
    """
    check_features(a, b)
    mean_a, factor_a = _mean_and_factor(a)
    mean_b, factor_b = _mean_and_factor(b)
    root = scipy.linalg.svdvals(factor_a @ factor_b.T, check_finite=False).sum()
    covariances = np.sum(factor_a**2) + np.sum(factor_b**2)  # their traces
    return max(0.0, float(np.sum((mean_a - mean_b) ** 2) + covariances - 2 * root))


def check_features(a: np.ndarray, b: np.ndarray) -> None:
    """Raises ValueError unless both are [N, D], [M, D] with N and M at least 2, and finite."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            "distances between sets need features [N, D] and [M, D] of two images or more; got "
            f"{list(a.shape)} and {list(b.shape)}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("distances between sets need finite features")


def _mean_and_factor(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and a factor F of the sample covariance, F^T F = C."""
    features = features.astype(np.float64)
    mean = features.mean(axis=0)
    factor = (features - mean) / np.sqrt(len(features) - 1)
    if len(factor) > factor.shape[1]:
        factor = np.linalg.qr(factor, mode="r")
    return mean, factor
