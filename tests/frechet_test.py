"""The Frechet distance against its textbook form."""

import numpy as np
import pytest
import scipy.linalg

from ssimbad_jax.metrics import frechet


def features(count, dimensions, seed=0, shift=0.0):
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).standard_normal((dimensions, dimensions))
    return generator.standard_normal((count, dimensions)) @ mixing * (1 + 0.1 * seed) + shift


def textbook(a, b):
    """With scipy's matrix root."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    difference = a.mean(axis=0) - b.mean(axis=0)
    return difference @ difference + np.trace(cov_a + cov_b - 2 * np.real(root))


def test_equals_the_textbook_form():
    a, b = features(60, 5), features(40, 5, seed=1, shift=0.3)
    assert frechet.frechet_distance(a, b) == pytest.approx(textbook(a, b), rel=1e-6)


def test_equals_the_closed_form_of_commuting_covariances():
    generator = np.random.default_rng(0)
    a = generator.standard_normal((50, 4))
    b = 3 * a + np.array([1.0, 2.0, 0.0, 0.0])
    # C_b = 9 C_a, so the trace is that of (1 - 3)^2 C_a.
    mean = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    expected = mean + 4 * np.trace(np.cov(a, rowvar=False))
    assert frechet.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("count_a", "count_b"), [(6, 6), (6, 30), (30, 6), (2, 2)])
def test_fewer_vectors_than_dimensions_need_no_special_treatment(count_a, count_b):
    """The textbook's covariances have no inverse here; a little of the identity makes one."""
    a, b = features(count_a, 12), features(count_b, 12, seed=1)
    cov_a, cov_b = (np.cov(x, rowvar=False) for x in (a, b))
    # tr (C_a C_b)^(1/2) through symmetric roots, which exist without inverses.
    values, vectors = np.linalg.eigh(cov_a)
    root_a = vectors * np.sqrt(values.clip(0)) @ vectors.T
    trace = np.sqrt(np.linalg.eigvalsh(root_a @ cov_b @ root_a).clip(0)).sum()
    mean = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    expected = mean + np.trace(cov_a) + np.trace(cov_b) - 2 * trace
    assert frechet.frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", [5, 50])
def test_equal_sets_have_no_distance_and_it_is_symmetric(count):
    a, b = features(count, 12), features(count, 12, seed=1)
    assert frechet.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet.frechet_distance(a, b) == pytest.approx(frechet.frechet_distance(b, a))


def test_bad_features_are_refused():
    with pytest.raises(ValueError, match=r"got \[1, 3\] and \[4, 3\]"):
        frechet.frechet_distance(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"got \[4, 2\] and \[4, 3\]"):
        frechet.frechet_distance(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="finite"):
        frechet.frechet_distance(np.full((4, 2), np.nan), np.zeros((4, 2)))
