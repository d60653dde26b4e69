"""What the networks are built of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.models import layers


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_downsampling_takes_means_over_squares(factor):
    x = np.random.default_rng(0).normal(size=(2, 8, 4, 3)).astype(np.float32)
    expected = np.zeros((2, 8 // factor, 4 // factor, 3))
    for row, column in np.ndindex(expected.shape[1:3]):
        square = x[:, row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        expected[:, row, column] = square.mean(axis=(1, 2))
    np.testing.assert_allclose(layers.downsample_average(x, factor), expected, atol=1e-6)


def test_upsampling_is_undone_by_downsampling():
    x = jax.random.normal(jax.random.key(0), (2, 4, 6, 3))
    enlarged = jax.jit(layers.upsample_nearest)(x)
    assert enlarged.shape == (2, 8, 12, 3)
    np.testing.assert_array_equal(enlarged[:, 1::2, ::2], x)
    np.testing.assert_allclose(layers.downsample_average(enlarged), x, atol=1e-6)


def test_statistics_are_float32_at_any_compute_dtype():
    """In bfloat16 the variance about so large a mean would be lost."""
    x = 200 + jax.random.normal(jax.random.key(0), (1, 16, 16, 4))
    norm = layers.group_norm(2, jnp.bfloat16)
    normalised, _ = jax.jit(norm.init_with_output)(jax.random.key(1), x)
    assert normalised.dtype == jnp.bfloat16
    np.testing.assert_allclose(normalised.astype(jnp.float32).std(), 1.0, atol=0.05)


def test_convolutions_keep_the_size_and_draw_as_told():
    x = jnp.ones((1, 5, 7, 3))
    conv = layers.conv(4, 3, jnp.float32)
    y, variables = jax.jit(conv.init_with_output)(jax.random.key(0), x)
    assert y.shape == (1, 5, 7, 4)
    assert np.abs(variables["params"]["kernel"]).max() <= 27**-0.5
    zero = layers.conv(4, 3, jnp.float32, init=jax.nn.initializers.zeros)
    y, _ = jax.jit(zero.init_with_output)(jax.random.key(0), x)
    np.testing.assert_array_equal(y, 0.0)
