"""Sizes and prefixes read off the names and shapes of official weights."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.models import official_sizes, official_unet
from ssimbad_jax.models import unet as unet_lib
from tests import golden_network

SIZES = [
    official_sizes.Sizes(16, (1, 2), 1, False),
    official_sizes.Sizes(16, (1, 2, 4, 8), 2, False),
    official_sizes.Sizes(32, (1, 2, 2), 3, True),
    official_sizes.Sizes(16, (2,), 2, False),
    official_sizes.Sizes(16, (1, 1, 1, 2, 2, 4), 1, True),
]


def arrays_of(sizes):
    """Zeros by the official names."""
    unet = unet_lib.UNet(num_groups=4, **sizes._asdict())
    side = 2 ** (len(sizes.channel_multipliers) - 1)
    shapes = jax.eval_shape(
        unet.init, jax.random.key(0), jnp.zeros((1, side, side, 7)), jnp.zeros((1,))
    )
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes["params"])
    return official_unet.official_arrays(params, unet)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_sizes_come_back(sizes):
    assert official_sizes.sizes(arrays_of(sizes)) == sizes


@pytest.mark.parametrize("name", ["denoiser", "denoiser_cbam"])
def test_sizes_of_the_official_code_come_back(golden, name):
    description = json.loads((golden / f"{name}.json").read_text())
    sizes = official_sizes.sizes(golden_network.defined_weights(description["params"]))
    official = description["unet"]
    assert sizes == (
        official["channel_base"],
        tuple(official["channel_mult"]),
        official["n_res_blocks"],
        official["cbam"],
    )


def test_missing_entries_are_named():
    arrays = arrays_of(SIZES[0])
    for name in ("input.0.weight", "encoder_block.2.conv2.3.weight"):
        with pytest.raises(ValueError, match=rf"the entry '{name}' is missing"):
            official_sizes.sizes({n: a for n, a in arrays.items() if n != name})
    without_first = {n: a for n, a in arrays.items() if not n.startswith("encoder_block.0.")}
    with pytest.raises(ValueError, match=r"missing, such as .*encoder_block\.0"):
        official_sizes.sizes(without_first)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((16, 6, 1, 1), "its network takes 6 channels; here it takes 7"),
        ((16, 7), r"has shape \(16, 7\); it is of another network"),
        ((0, 7, 1, 1), "it is of another network"),
        ((24, 7, 1, 1), r"levels have \[16, 32\] channels, no multiples of 24"),
    ],
)
def test_other_networks_are_refused(shape, message):
    arrays = arrays_of(SIZES[0]) | {"input.0.weight": np.zeros(shape, np.float32)}
    with pytest.raises(ValueError, match=message):
        official_sizes.sizes(arrays)


@pytest.mark.parametrize("prefix", ["", "denoise_fn.", "module.denoise_fn.", "state_dict.model.x."])
def test_prefixes_are_found(prefix):
    names = [f"{prefix}{name}" for name in arrays_of(SIZES[0])]
    others = ["gammas", "loss_fn.lpips_loss.lin0.model.1.weight", "my_time_embedding.0.weight.old"]
    assert official_sizes.find_prefix(names + others) == prefix


def test_the_network_repeated_in_the_loss_is_passed_over():
    names = ["model.denoise_fn.", "loss_fn.model.denoise_fn."]
    both = [f"{prefix}time_embedding.0.weight" for prefix in names]
    assert official_sizes.find_prefix(both) == names[0]
    assert official_sizes.find_prefix(both[1:]) == names[1]
    assert [official_sizes.is_repeated(part) for part in (both, both[:1])] == [True, False]


def test_of_several_networks_one_has_to_be_chosen():
    names = [f"{p}.denoise_fn.time_embedding.0.weight" for p in ("ema", "model")]
    with pytest.raises(ValueError, match=r"several .*'ema.denoise_fn.', 'model.denoise_fn.'; cho"):
        official_sizes.find_prefix(names)
    for given in ("ema.denoise_fn", "ema.denoise_fn."):
        assert official_sizes.find_prefix(names, given) == "ema.denoise_fn."
    with pytest.raises(ValueError, match="several"):
        official_sizes.find_prefix(names, "denoise_fn.")
    with pytest.raises(ValueError, match="no weights of this U-Net"):
        official_sizes.find_prefix(names, "")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            [f"model.{n}.weight" for n in range(9)],
            r"entries are model.0.weight, .*3.weight, \.\.\.",
        ),
        (["fc.bias"], "entries are fc.bias$"),
        ([], "no tensors in it"),
    ],
)
def test_weights_of_something_else_are_told_by_their_names(names, message):
    with pytest.raises(ValueError, match=f"no weights of this U-Net: .*{message}"):
        official_sizes.find_prefix(names)
