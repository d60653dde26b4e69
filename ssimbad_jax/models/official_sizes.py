"""What the names and shapes of official weights say: where the U-Net is, and its sizes."""

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from ssimbad_jax.models import unet as unet_lib

# Entries that every official U-Net has, whatever its sizes, and hardly any other network.
_ANCHORS = ("time_embedding.0.weight", "bottom_block.0.conv1.0.weight", "decoder_block.0.conv1.0.")
# Refinement keeps its loss, which holds the network a second time.
_REPEATED = "loss_fn.model."
_NAMES_SHOWN = 4


class Sizes(NamedTuple):
    """The fields of `UNet` that shapes tell; they tell nothing of `num_heads` and `num_groups`."""

    base_channels: int
    channel_multipliers: tuple[int, ...]
    num_res_blocks: int
    cbam: bool


def find_prefix(names: Collection[str], prefix: str | None = None) -> str:
    """Returns what stands before the official names of the U-Net's entries.

    Args:
        names: of all entries, such as `model.denoise_fn.input.0.weight`.
        prefix: which one it has to be, where there are several; it may be a part, from the end.

    Raises:
        ValueError: there is none, or there are several; the message names some.
    """
    found = sorted(
        {
            name[: name.rindex(anchor)]
            for name in names
            for anchor in _ANCHORS
            if f".{anchor}" in f".{name}"
        }
    )
    if prefix is not None:
        wanted = prefix.rstrip(".") + "." if prefix else ""
        found = [p for p in found if p == wanted or (wanted and p.endswith(f".{wanted}"))]
    if len(found) > 1:
        found = [p for p in found if not f".{p}".count(f".{_REPEATED}")] or found[:1]
    if len(found) > 1:
        shown = ", ".join(repr(p) for p in found)
        raise ValueError(f"it holds several U-Nets, under {shown}; choose one with --prefix")
    if not found:
        raise ValueError(f"it holds no weights of this U-Net: {_shown(names)}")
    return found[0]


def is_repeated(names: Collection[str]) -> bool:
    """Returns whether the U-Net is there a second time, inside of the loss of a refinement."""
    return any(f".{_REPEATED}" in f".{name}" for name in names)


def sizes(arrays: Mapping[str, np.ndarray]) -> Sizes:
    """Returns the sizes of a U-Net; whether all of its entries are there is not looked at.

    Args:
        arrays: by the official names, without a prefix.

    Raises:
        ValueError: an entry is missing that the sizes follow from, or it is another network.
    """
    entry = _shape(arrays, "input.0.weight", 4)
    base_channels, inputs = entry[:2]
    if inputs != unet_lib.INPUT_CHANNELS:
        raise ValueError(
            f"its network takes {inputs} channels; here it takes {unet_lib.INPUT_CHANNELS}: noisy "
            "image, sketch and reference"
        )
    numbers = {int(found[1]) for name in arrays if (found := _ENCODER_BLOCK.match(name))}
    # One list of blocks and poolings, which have no weights: 0 1 _ 3 4 _ 6 7.
    num_res_blocks = next(n for n in range(len(numbers) + 1) if n not in numbers)
    if not num_res_blocks:
        raise ValueError("entries are missing, such as those of encoder_block.0")
    last_of_levels = range(num_res_blocks - 1, max(numbers) + 1, num_res_blocks + 1)
    widths = [_shape(arrays, f"encoder_block.{n}.conv2.3.weight", 4)[0] for n in last_of_levels]
    if any(width % base_channels for width in widths):
        raise ValueError(f"its levels have {widths} channels, no multiples of {base_channels}")
    return Sizes(
        base_channels=base_channels,
        channel_multipliers=tuple(width // base_channels for width in widths),
        num_res_blocks=num_res_blocks,
        cbam=any(".channel_attention." in name for name in arrays),
    )


_ENCODER_BLOCK = re.compile(r"encoder_block\.(\d{1,3})\.")


def _shape(arrays: Mapping[str, np.ndarray], name: str, ndim: int) -> tuple[int, ...]:
    if name not in arrays:
        raise ValueError(f"the entry {name!r} is missing")
    shape = arrays[name].shape
    if len(shape) != ndim or 0 in shape:
        raise ValueError(f"the entry {name!r} has shape {shape}; it is of another network")
    return shape


def _shown(names: Collection[str]) -> str:
    if not names:
        return "there are no tensors in it"
    shown = ", ".join(sorted(names)[:_NAMES_SHOWN])
    return f"its entries are {shown}" + (", ..." if len(names) > _NAMES_SHOWN else "")
