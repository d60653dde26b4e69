"""The U-Net against the official network, and its own properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.models import unet as unet_lib
from tests import golden_network

pytestmark = pytest.mark.core


@pytest.mark.parametrize("name", ["denoiser", "denoiser_cbam"])
def test_output_equals_official(golden, name):
    case = golden_network.load(golden, name)
    x = jnp.concatenate([case.noise, case.condition], axis=-1)
    output = case.unet.apply({"params": case.params}, x, case.arrays["unet_t"])
    golden_network.assert_close(output, case.arrays["unet_out"], 1e-4)


def test_parameter_count_of_the_paper():
    unet = unet_lib.UNet(base_channels=64, channel_multipliers=(1, 2, 4, 8))
    shapes = jax.eval_shape(
        unet.init, jax.random.key(0), jnp.zeros((1, 32, 32, 7)), jnp.zeros((1,))
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 52_301_251


def test_bfloat16_is_close_and_keeps_float32_parameters(golden):
    case = golden_network.load(golden, "denoiser")
    x = jnp.concatenate([case.noise, case.condition], axis=-1)
    unet = case.unet.clone(dtype=jnp.bfloat16)
    output = unet.apply({"params": case.params}, x, case.arrays["unet_t"])
    assert output.dtype == jnp.float32
    golden_network.assert_close(output, case.arrays["unet_out"], 5e-2)
    variables = jax.eval_shape(unet.init, jax.random.key(0), x, case.arrays["unet_t"])
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_group_norm_of_one_channel_erases_the_noise_level():
    """With as many groups as channels, a block's output does not know the embedding."""
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 32))
    embeddings = jnp.stack([jnp.zeros(16), jnp.ones(16)])[:, None]

    def spread(num_groups: int) -> float:
        block = unet_lib.ResidualBlock(32, num_groups)
        variables = block.init(jax.random.key(1), x, embeddings[0])
        first, second = (block.apply(variables, x, e) for e in embeddings)
        return float(np.abs(first - second).max())

    assert spread(32) < 1e-5 < 1e-2 < spread(8)


def test_sinusoidal_embedding_is_cosines_then_sines():
    t = np.array([0.25, 3.0])
    embedded = unet_lib.sinusoidal_embedding(jnp.asarray(t, jnp.float32), 8)
    angles = t[:, None] * 1000.0 ** (-np.arange(4) / 4)
    np.testing.assert_allclose(
        embedded, np.concatenate([np.cos(angles), np.sin(angles)], -1), rtol=1e-5
    )
