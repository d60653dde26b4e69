"""Random streams: each key of a run is folded from another one by a name of this list.

Two names never draw the same numbers from one key, wherever in the code they are used. A key that
counters are folded into (steps, pictures, draws) belongs to one name alone, since counters and
names share the numbers.
"""

import enum

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


class Stream(enum.IntEnum):
    """What is drawn. A number, once given, stays: results follow from it."""

    # Of the run's key.
    INIT = 0
    TRAIN = 1
    VALIDATION = 2
    GRID_EXAMPLES = 3
    GRID_SAMPLER = 4
    REFINE = 5  # a key from which refinement folds the five above
    CALIBRATE = 6
    PAIRS = 7

    # Of the key of a step, or of what colours a picture.
    CONDITIONS = 8
    SIGMA = 9
    NOISE = 10
    COLOUR_JITTER = 11
    DROP = 12
    SAMPLER = 13
    WALK_LENGTH = 14
    GRADIENT_STEPS = 15

    # Of the key of a batch's conditions.
    SKETCH = 16
    REFERENCE = 17

    # Of the key of a warp.
    START = 18
    SHIFT = 19
    DIRECTION = 20
    DISTANCE = 21
    ANGLE = 22
    SCALE = 23

    # Of the key of test pairs.
    PICTURES = 24
    ORDER = 25

    # Of the key of a picture's calibration.
    NOISE_FIELD = 26
    NOISE_WINDOW = 27

    # Of the key of a sampler.
    WALK = 28
    POSTERIOR_MEAN = 29
    RESTART = 30


def fold_in(key: jax.Array, number: ArrayLike) -> jax.Array:
    """Returns a stream of a key, or of each of keys `[B]`.

    Args:
        key: one PRNG key, or `[B]`.
        number: a `Stream`, or the number of a step, a picture or a draw.
    """
    if key.ndim:
        return jax.vmap(jax.random.fold_in, in_axes=(0, None))(key, number)
    return jax.random.fold_in(key, number)


def of_each(key: jax.Array, count: int) -> jax.Array:
    """Returns keys `[count]`, one for each element of a batch: the i-th does not depend on count.

    Args:
        key: one PRNG key.
        count: elements of the batch.
    """
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(count))
