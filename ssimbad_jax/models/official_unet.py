"""Official PyTorch weights <-> Flax parameters.

The official U-Net numbers its blocks along one list; ours are named by level. This module
holds the map between the two and the change of layout (OIHW <-> HWIO), nothing else.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from ssimbad_jax.models import unet as unet_lib

_Path = tuple[str, ...]
_Layout = Callable[[np.ndarray], np.ndarray]


def unet_params(state_dict: Mapping[str, np.ndarray], unet: unet_lib.UNet) -> dict[str, Any]:
    """Converts the official U-Net's weights to the parameters of `unet`.

    Args:
        state_dict: arrays by the official names, without the `denoise_fn.` prefix;
            convolutions are OIHW.
        unet: the module the parameters are for; its sizes decide which entries are expected.

    Returns:
        The tree for `unet.apply({"params": tree}, ...)`, float32.

    Raises:
        ValueError: entries are missing, unexpected or of another shape; the message names them.
    """
    names = dict(_official_names(unet))
    missing = sorted(set(names) - set(state_dict))
    extra = sorted(set(state_dict) - set(names))
    if missing or extra:
        raise ValueError(
            f"The weights do not fit this U-Net: {_listed('missing', missing)}; "
            f"{_listed('unexpected', extra)}. Check base_channels, channel_multipliers, "
            "num_res_blocks and cbam, and strip any prefix such as 'denoise_fn.' from the names."
        )
    expected = _expected_shapes(unet)
    flat = {}
    for name, path in names.items():
        value = _to_flax_layout(name, np.asarray(state_dict[name], np.float32))
        if value.shape != expected[path]:
            raise ValueError(
                f"The entry {name!r} has shape {np.shape(state_dict[name])}, which gives "
                f"{value.shape} here, but {'/'.join(path)} is {expected[path]}. "
                "Set the model's fields to the sizes the weights were trained with."
            )
        flat[path] = value
    return traverse_util.unflatten_dict(flat)


def official_arrays(params: Mapping[str, Any], unet: unet_lib.UNet) -> dict[str, np.ndarray]:
    """Converts parameters to the official U-Net's names and layout; undoes `unet_params`.

    Args:
        params: of `unet`, the tree that `unet.apply` takes.
        unet: their module.

    Returns:
        Arrays by the official names, contiguous, convolutions being OIHW.
    """
    flat = traverse_util.flatten_dict(dict(params))
    return {
        name: np.ascontiguousarray(_to_official_layout(path, np.asarray(flat[path])))
        for path, name in official_name_of_path(unet).items()
    }


def official_name_of_path(unet: unet_lib.UNet) -> dict[_Path, str]:
    """Returns the official name of every parameter of `unet`, by its path in the tree."""
    return {path: name for name, path in _official_names(unet)}


def _expected_shapes(unet: unet_lib.UNet) -> dict[_Path, tuple[int, ...]]:
    size = 2 ** (len(unet.channel_multipliers) - 1)
    variables = jax.eval_shape(
        unet.init,
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, size, size, unet_lib.INPUT_CHANNELS), np.float32),
        jax.ShapeDtypeStruct((1,), np.float32),
    )
    flat = traverse_util.flatten_dict(variables["params"])
    return {path: leaf.shape for path, leaf in flat.items()}


def _to_flax_layout(name: str, value: np.ndarray) -> np.ndarray:
    layouts: dict[int, _Layout] = {
        1: lambda v: v,
        2: lambda v: v.T,
        3: lambda v: v[:, :, 0].T,  # a 1x1 convolution over a sequence is a Dense here
        4: lambda v: v.transpose(2, 3, 1, 0),
    }
    if value.ndim not in layouts or (value.ndim == 3 and value.shape[2] != 1):
        raise ValueError(
            f"The entry {name!r} of shape {value.shape} is no weight of this U-Net; leave it out, "
            "or check that the weights are of the official network."
        )
    return layouts[value.ndim](value)


def _to_official_layout(path: _Path, value: np.ndarray) -> np.ndarray:
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if value.ndim == 2:
        return value.T[..., None] if "qkv" in path else value.T
    return value


def _official_names(unet: unet_lib.UNet) -> Iterator[tuple[str, _Path]]:
    """Yields (official name, path) for every parameter."""
    paths = _expected_shapes(unet)
    prefixes = dict(_official_blocks(unet))
    for path in paths:
        module, *inner = path
        if module in prefixes:
            yield f"{prefixes[module]}.{_INSIDE[tuple(inner)]}", path
        else:
            yield _OUTSIDE[path], path


def _official_blocks(unet: unet_lib.UNet) -> Iterator[tuple[str, str]]:
    """Yields (our block, official block) in the order of the official lists."""
    levels = len(unet.channel_multipliers)
    index = 0
    for level in range(levels):
        for block in range(unet.num_res_blocks):
            yield f"encoder_{level}_block_{block}", f"encoder_block.{index}"
            index += 1
        index += 1  # the official list counts the pooling, which has no weights
    yield "bottleneck_block_0", "bottom_block.0"
    yield "bottleneck_attention", "bottom_block.1.attention"
    yield "bottleneck_block_1", "bottom_block.2"
    index = 0
    for level in reversed(range(levels)):
        for block in range(unet.num_res_blocks):
            yield f"decoder_{level}_block_{block}", f"decoder_block.{index}"
            index += 1
        if level > 0:
            yield f"decoder_{level}_up", f"decoder_block.{index}.0"
            index += 1


_INSIDE: dict[_Path, str] = {
    ("norm_0", "scale"): "conv1.0.weight",
    ("norm_0", "bias"): "conv1.0.bias",
    ("conv_0", "kernel"): "conv1.2.weight",
    ("conv_0", "bias"): "conv1.2.bias",
    ("embedding", "kernel"): "time_emb.1.weight",
    ("embedding", "bias"): "time_emb.1.bias",
    ("norm_1", "scale"): "conv2.0.weight",
    ("norm_1", "bias"): "conv2.0.bias",
    ("conv_1", "kernel"): "conv2.3.weight",
    ("conv_1", "bias"): "conv2.3.bias",
    ("skip", "kernel"): "skip_connection.weight",
    ("skip", "bias"): "skip_connection.bias",
    ("channel_attention", "squeeze", "kernel"): "attention.0.channel_attention.fc.0.weight",
    ("channel_attention", "excite", "kernel"): "attention.0.channel_attention.fc.2.weight",
    ("spatial_attention", "conv", "kernel"): "attention.0.spatial_attention.conv.weight",
    ("norm", "scale"): "0.weight",
    ("norm", "bias"): "0.bias",
    ("qkv", "kernel"): "1.weight",
    ("qkv", "bias"): "1.bias",
}

_OUTSIDE: dict[_Path, str] = {
    ("noise_embedding", "dense_0", "kernel"): "time_embedding.0.weight",
    ("noise_embedding", "dense_0", "bias"): "time_embedding.0.bias",
    ("noise_embedding", "dense_1", "kernel"): "time_embedding.2.weight",
    ("noise_embedding", "dense_1", "bias"): "time_embedding.2.bias",
    ("conv_in", "kernel"): "input.0.weight",
    ("conv_in", "bias"): "input.0.bias",
    ("norm_out", "scale"): "output.0.weight",
    ("norm_out", "bias"): "output.0.bias",
    ("conv_out", "kernel"): "output.2.weight",
    ("conv_out", "bias"): "output.2.bias",
}


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return f"nothing {what}"
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} {what} ({shown})"
