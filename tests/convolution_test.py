"""The convolution with a fast gradient is the ordinary one."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.models import convolution

X = jax.random.normal(jax.random.key(0), (3, 6, 7, 4))


def plain(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (7, 7), (3, 5)])
def test_values_and_gradients_equal_the_plain_convolution(size):
    kernel = jax.random.normal(jax.random.key(1), (*size, 4, 5))
    weights = jax.random.normal(jax.random.key(2), (3, 6, 7, 5))

    def weighted_sum(convolve, x, kernel):
        return jnp.sum(weights * convolve(x, kernel) ** 2)

    for convolve in (plain, convolution.convolve):
        value, gradient = jax.value_and_grad(weighted_sum, argnums=(1, 2))(convolve, X, kernel)
        if convolve is plain:
            expected = value, gradient
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    for actual, wanted in zip(gradient, expected[1], strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_gradients_in_a_loop_take_about_as_long_as_outside():
    """Thirty times as long otherwise; five leaves room for a busy machine."""
    kernel = 0.05 * jax.random.normal(jax.random.key(1), (3, 3, 32, 32))
    x = jax.random.normal(jax.random.key(0), (4, 16, 16, 32))

    def in_a_loop(kernel):
        step = lambda x, _: (convolution.convolve(x, kernel), None)  # noqa: E731
        return jax.lax.scan(step, x, None, length=5)[0].sum()

    def outside(kernel):
        y = x
        for _ in range(5):
            y = plain(y, kernel)
        return y.sum()

    def seconds(function):
        gradient = jax.jit(jax.grad(function))
        jax.block_until_ready(gradient(kernel))
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            jax.block_until_ready(gradient(kernel))
            times.append(time.perf_counter() - begin)
        return min(times)

    assert seconds(in_a_loop) < 5 * seconds(outside)


@pytest.mark.parametrize(
    "options",
    [
        {"window_strides": (2, 2)},
        {"padding": "VALID"},
        {"rhs_dilation": (2, 2)},
        {"feature_group_count": 2},
    ],
)
def test_other_convolutions_are_refused(options):
    kernel = jnp.ones((3, 3, 4, 4))
    with pytest.raises(ValueError, match="strides of 1, padding SAME"):
        convolution.convolve(X, kernel, **options)


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match="odd kernels"):
        convolution.convolve(X, jnp.ones((2, 2, 4, 4)))
