"""Bootstrap intervals (Efron 1979): how much a score would change with other pictures."""

from collections.abc import Callable, Sequence

import numpy as np
import threadpoolctl

Statistic = Callable[..., float]


def interval(
    statistic: Statistic,
    samples: Sequence[np.ndarray],
    seed: int,
    *,
    resamples: int = 200,
    level: float = 0.95,
) -> tuple[float, float]:
    """Returns the interval in which a statistic of as many other pictures would lie.

    Pictures are drawn with replacement, and the percentiles of the statistic of such draws taken.
    A draw holds fewer different pictures than the set, which shifts distances between sets (the
    Frechet distance grows as sets get smaller); so the percentiles are shifted back by how far the
    mean of the draws is from the statistic itself. What bias the statistic has at this number of
    pictures stays in it.

    Args:
        statistic: a function of `samples`, such as `frechet.frechet_distance`.
        samples: arrays [N, ...]; entry i of each belongs to picture i, and they are drawn together.
        seed: the same seed draws the same pictures, so that intervals of several methods compare.
        resamples: number of draws.
        level: share of the draws inside the interval.

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: the samples are of different lengths.
    """
    count = len(samples[0])
    if any(len(sample) != count for sample in samples):
        raise ValueError(f"samples have lengths {[len(sample) for sample in samples]}, not one")
    generator = np.random.default_rng(seed)
    values = np.empty(resamples)
    # Of matrices this small, threads wait for each other longer than they compute.
    with threadpoolctl.threadpool_limits(limits=1):
        for number in range(resamples):
            # At least two different pictures: a set of copies of one has no spread.
            chosen = generator.integers(count, size=count)
            while count > 1 and np.all(chosen == chosen[0]):
                chosen = generator.integers(count, size=count)
            values[number] = statistic(*(sample[chosen] for sample in samples))
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail]) - values.mean() + statistic(*samples)
    return float(low), float(high)
