"""Bootstrap intervals."""

import numpy as np
import pytest
from scipy import stats

from ssimbad_jax.metrics import bootstrap, frechet


def mean(x):
    return float(x.mean())


def test_the_interval_of_a_mean_is_the_known_one():
    sample = np.random.default_rng(0).standard_normal(200)
    low, high = bootstrap.interval(mean, [sample], seed=1, resamples=2000)
    expected = stats.t.interval(0.95, 199, loc=sample.mean(), scale=stats.sem(sample))
    np.testing.assert_allclose([low, high], expected, atol=0.02)
    narrow = bootstrap.interval(mean, [sample], seed=1, resamples=2000, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_pictures_are_drawn_together():
    """What differs by a constant differs by it in every draw."""
    sample = np.random.default_rng(0).standard_normal(50)
    low, high = bootstrap.interval(lambda a, b: mean(a - b), [sample + 2, sample], seed=0)
    assert low == pytest.approx(2) and high == pytest.approx(2)


def test_the_interval_covers_the_expected_distance_of_so_many_pictures():
    """Unshifted percentiles of the Frechet distance would lie far above it."""
    generator = np.random.default_rng(0)
    sets = generator.standard_normal((60, 2, 30, 8))
    expected = np.mean([frechet.frechet_distance(a, b) for a, b in sets])
    intervals = [
        bootstrap.interval(frechet.frechet_distance, pair, seed=0, resamples=100) for pair in sets
    ]
    covered = np.mean([low <= expected <= high for low, high in intervals])
    assert covered > 0.8
    assert all(
        low <= frechet.frechet_distance(*pair) <= high
        for (low, high), pair in zip(intervals, sets, strict=True)
    )


def test_the_seed_decides():
    sample = np.random.default_rng(0).standard_normal(30)
    first, again, other = (bootstrap.interval(mean, [sample], seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_two_pictures_are_enough():
    low, high = bootstrap.interval(
        frechet.frechet_distance, [np.eye(2), np.ones((2, 2))], seed=0, resamples=20
    )
    assert np.isfinite([low, high]).all()


def test_samples_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"lengths \[3, 4\]"):
        bootstrap.interval(mean, [np.zeros(3), np.zeros(4)], seed=0)
