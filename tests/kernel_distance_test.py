"""The kernel distance against its definition, sum by sum."""

import itertools

import numpy as np
import pytest

from ssimbad_jax.metrics import kernel_distance


def definition(a, b):
    def kernel(x, y):
        return (np.dot(x, y) / len(x) + 1) ** 3

    inside = [
        np.mean([kernel(x, y) for x, y in itertools.permutations(samples, 2)]) for samples in (a, b)
    ]
    return sum(inside) - 2 * np.mean([kernel(x, y) for x, y in itertools.product(a, b)])


def test_equals_the_definition():
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((7, 4)), generator.standard_normal((5, 4)) + 0.5
    expected = definition(a, b)
    assert kernel_distance.kernel_distance(a, b) == pytest.approx(expected, rel=1e-12)


def test_is_unbiased_and_sees_a_shift():
    generator = np.random.default_rng(0)
    sets = generator.standard_normal((400, 2, 10, 3)).astype(np.float32)
    values = [kernel_distance.kernel_distance(a, b) for a, b in sets]
    error = np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 and abs(np.mean(values)) < 4 * error
    shifted = [kernel_distance.kernel_distance(a, b + np.float32(1)) for a, b in sets]
    assert np.mean(shifted) > 20 * error


def test_bad_features_are_refused():
    with pytest.raises(ValueError, match=r"got \[1, 3\] and \[4, 3\]"):
        kernel_distance.kernel_distance(np.zeros((1, 3)), np.zeros((4, 3)))
