"""Names and layouts of the official weights; `unet_test` checks the values."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from ssimbad_jax.models import official_unet
from ssimbad_jax.models import unet as unet_lib
from tests import golden_network

SIZES = [
    {"channel_multipliers": (1, 2), "num_res_blocks": 1},
    {"channel_multipliers": (1, 2, 4, 8), "num_res_blocks": 2},
    {"channel_multipliers": (1, 2, 2), "num_res_blocks": 3, "cbam": True},
    {"channel_multipliers": (1,), "num_res_blocks": 2},
]


def _unet(**sizes):
    return unet_lib.UNet(base_channels=16, num_groups=4, **sizes)


def _shapes(unet):
    size = 2 ** (len(unet.channel_multipliers) - 1)
    variables = jax.eval_shape(
        unet.init, jax.random.key(0), jnp.zeros((1, size, size, 7)), jnp.zeros((1,))
    )
    return {
        path: leaf.shape for path, leaf in traverse_util.flatten_dict(variables["params"]).items()
    }


def _official(name, value):
    """The array as PyTorch keeps it: OIHW, (out, in), or (out, in, 1) for the attention."""
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if value.ndim == 2:
        return value.T[..., None] if name.endswith("attention.1.weight") else value.T
    return value


@pytest.fixture(scope="module")
def weights():
    """A U-Net, its parameters by path and the same in the official form."""
    unet = _unet(**SIZES[0])
    generator = np.random.default_rng(0)
    params = {
        path: generator.normal(size=shape).astype(np.float32)
        for path, shape in _shapes(unet).items()
    }
    names = official_unet.official_name_of_path(unet)
    official = {names[path]: _official(names[path], value) for path, value in params.items()}
    return unet, params, official


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_every_parameter_returns(sizes):
    unet = _unet(**sizes)
    names = official_unet.official_name_of_path(unet)
    params = {
        path: np.random.default_rng(number).normal(size=shape).astype(np.float32)
        for number, (path, shape) in enumerate(_shapes(unet).items())
    }
    assert names.keys() == params.keys()
    assert len(set(names.values())) == len(names)
    official = {names[path]: _official(names[path], value) for path, value in params.items()}
    returned = traverse_util.flatten_dict(official_unet.unet_params(official, unet))
    assert returned.keys() == params.keys()
    for path, value in params.items():
        np.testing.assert_array_equal(returned[path], value)
        assert returned[path].dtype == np.float32


@pytest.mark.parametrize("name", ["denoiser", "denoiser_cbam"])
def test_names_and_shapes_are_the_official_ones(golden, name):
    description = json.loads((golden / f"{name}.json").read_text())
    unet = golden_network.described_unet(description)
    names = official_unet.official_name_of_path(unet)
    shapes = {
        names[path]: list(_official(names[path], np.empty(shape)).shape)
        for path, shape in _shapes(unet).items()
    }
    assert shapes == description["params"]


def test_other_float_types_become_float32(weights):
    unet, _, official = weights
    halves = {name: value.astype(np.float64) for name, value in official.items()}
    params = official_unet.unet_params(halves, unet)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}


def test_missing_and_unexpected_entries_are_named(weights):
    unet, _, official = weights
    changed = dict(official)
    del changed["output.2.bias"]
    changed["encoder_block.77.conv1.0.weight"] = np.zeros(3)
    with pytest.raises(ValueError, match="1 missing") as refusal:
        official_unet.unet_params(changed, unet)
    message = str(refusal.value)
    assert "output.2.bias" in message and "encoder_block.77.conv1.0.weight" in message
    assert "num_res_blocks" in message


def test_prefixed_names_are_explained(weights):
    unet, _, official = weights
    prefixed = {f"denoise_fn.{name}": value for name, value in official.items()}
    with pytest.raises(ValueError, match=r"strip any prefix such as 'denoise_fn\.'"):
        official_unet.unet_params(prefixed, unet)


@pytest.mark.parametrize("name", ["input.0.weight", "time_embedding.0.weight", "output.0.bias"])
def test_misshaped_entries_are_named(weights, name):
    unet, _, official = weights
    shape = (official[name].shape[0] + 1, *official[name].shape[1:])
    with pytest.raises(ValueError, match="which gives") as refusal:
        official_unet.unet_params({**official, name: np.zeros(shape)}, unet)
    assert name in str(refusal.value) and str(shape) in str(refusal.value)


def test_weights_of_another_network_are_refused(weights):
    _, _, official = weights
    with pytest.raises(ValueError, match="missing"):
        official_unet.unet_params(official, _unet(**SIZES[2]))
    wider = unet_lib.UNet(base_channels=32, num_groups=4, **SIZES[0])
    with pytest.raises(ValueError, match="sizes the weights were trained with"):
        official_unet.unet_params(official, wider)


@pytest.mark.parametrize("name", ["denoiser", "denoiser_cbam"])
def test_official_weights_return_to_what_they_were(golden, name):
    description = json.loads((golden / f"{name}.json").read_text())
    unet = golden_network.described_unet(description)
    official = golden_network.defined_weights(description["params"])
    back = official_unet.official_arrays(official_unet.unet_params(official, unet), unet)
    assert back.keys() == official.keys()
    for name, value in official.items():
        np.testing.assert_array_equal(back[name], value)
        assert back[name].flags.c_contiguous
