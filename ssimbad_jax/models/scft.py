"""SCFT (Lee et al. 2020, arXiv 2005.05207), in Linen: a network that colours in one call.

Each position of the sketch looks for what it corresponds to in the reference, by attention between
features of all levels of two encoders ("spatially corresponding feature transfer"); residual blocks
and a decoder with the skips of the sketch's encoder make the picture of what it finds. A patch
discriminator, its opponent in training, is part of the same tree of parameters.

It has the widths of the U-Net, `base_channels` times the multipliers, and its number of residual
blocks. The encoders have no normalisation, which would take the mean colour out of the reference.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from ssimbad_jax.models import layers, unet

# Of the network's input: noisy image (which SCFT ignores), then sketch, then reference.
SKETCH, REFERENCE = slice(3, 4), slice(4, 7)
LEAK = 0.2  # slope of the leaky ReLUs below zero


class Encoder(nn.Module):
    """Two convolutions a level, halving the size between levels."""

    widths: Sequence[int]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> list[jax.Array]:
        """Maps `[B, H, W, C]` to the features of each level, `[B, H / 2^l, W / 2^l, width]`."""
        h, features = image.astype(self.dtype), []
        for level, width in enumerate(self.widths):
            if level > 0:
                h = layers.downsample_average(h)
            for number in range(2):
                name = f"level_{level}_conv_{number}"
                h = layers.conv(width, 3, self.dtype, name, nn.initializers.he_normal())(h)
                h = nn.leaky_relu(h, LEAK)
            features.append(h)
        return features


class FeatureTransfer(nn.Module):
    """Attention of the sketch's positions to the reference's (Lee et al. 2020)."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, sketch: jax.Array, reference: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Adds to each position of the sketch what it finds in the reference.

        Args:
            sketch: features `[B, N, D]`, the queries.
            reference: features `[B, N, D]`, keys and values.

        Returns:
            The sum, `[B, N, D]`, and the scaled dot products before the softmax, float32
            `[B, N, N]`: queries along the rows, keys along the columns.
        """
        features = sketch.shape[-1]
        query, key, value = (
            nn.Dense(
                features,
                use_bias=False,
                kernel_init=nn.initializers.lecun_normal(),
                dtype=self.dtype,
                name=name,
            )(x)
            for name, x in (("query", sketch), ("key", reference), ("value", reference))
        )
        # Scores and softmax are float32 whatever the compute dtype.
        products = jnp.einsum("bqd,bkd->bqk", query, key, preferred_element_type=jnp.float32)
        scores = products / jnp.sqrt(jnp.float32(features))
        found = jnp.einsum("bqk,bkd->bqd", nn.softmax(scores, axis=-1).astype(value.dtype), value)
        return sketch + found, scores


class Generator(nn.Module):
    """Colours a sketch like a reference; see `SCFT` for the attributes."""

    widths: Sequence[int]
    num_res_blocks: int
    num_groups: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, sketch: jax.Array, reference: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Returns the picture, `[B, H, W, 3]` in [-1, 1], and the scores of the attention."""
        skips = Encoder(self.widths, self.dtype, name="sketch_encoder")(sketch)
        of_reference = Encoder(self.widths, self.dtype, name="reference_encoder")(reference)
        queries, keys = (_all_levels(features) for features in (skips, of_reference))
        batch, height, width, depth = queries.shape
        flat = (batch, height * width, depth)
        h, scores = FeatureTransfer(self.dtype, name="transfer")(
            queries.reshape(flat), keys.reshape(flat)
        )
        h = h.reshape(queries.shape)
        for level, features in reversed(list(enumerate(self.widths))):
            if level + 1 < len(self.widths):
                h = jnp.concatenate([layers.upsample_nearest(h), skips[level]], axis=-1)
            for number in range(self.num_res_blocks):
                name = f"level_{level}_block_{number}"
                block = unet.ResidualBlock(features, self.num_groups, dtype=self.dtype, name=name)
                h = block(h)
        h = nn.silu(layers.group_norm(self.num_groups, self.dtype, "norm_out")(h))
        image = jnp.tanh(layers.conv(3, 1, self.dtype, "conv_out")(h).astype(jnp.float32))
        return image, scores


class Discriminator(nn.Module):
    """Judges patches of a picture together with its sketch, one verdict a position."""

    widths: Sequence[int]
    num_groups: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, sketch: jax.Array) -> jax.Array:
        """Maps `[B, H, W, 3]` and `[B, H, W, 1]` to float32 `[B, H / 2^l, W / 2^l, 1]`."""
        h = jnp.concatenate([image, sketch], axis=-1).astype(self.dtype)
        for level, width in enumerate(self.widths):
            if level > 0:
                h = layers.downsample_average(h)
            name = f"level_{level}_conv"
            h = layers.conv(width, 3, self.dtype, name, nn.initializers.he_normal())(h)
            if level > 0:
                h = layers.group_norm(self.num_groups, self.dtype, f"level_{level}_norm")(h)
            h = nn.leaky_relu(h, LEAK)
        return layers.conv(1, 3, self.dtype, "verdict")(h).astype(jnp.float32)


class SCFT(nn.Module):
    """Generator and discriminator, called like every network; it ignores noise and noise level.

    Attributes:
        base_channels: channels of the first level.
        channel_multipliers: one entry a level; height and width halve between levels.
        num_res_blocks: residual blocks a level, from the transfer on.
        num_groups: groups of every GroupNorm.
        dtype: compute dtype. Parameters and the results are float32.
    """

    base_channels: int = 64
    channel_multipliers: Sequence[int] = (1, 2, 4, 8)
    num_res_blocks: int = 2
    num_groups: int = 32
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:
        """Makes the two networks."""
        widths = tuple(self.base_channels * multiplier for multiplier in self.channel_multipliers)
        self.generator = Generator(widths, self.num_res_blocks, self.num_groups, self.dtype)
        self.discriminator = Discriminator(widths, self.num_groups, self.dtype)

    def __call__(self, x: jax.Array, noise_embedding: jax.Array) -> jax.Array:
        """Colours; `init` makes the parameters of both networks.

        Args:
            x: `[B, H, W, 7]`: noisy image, sketch and reference, along the channels. Height and
                width must be divisible by `2 ** (levels - 1)`.
            noise_embedding: `[B]`, not used.

        Returns:
            `[B, H, W, 3]` in [-1, 1], float32.
        """
        image, _ = self.colour(x[..., SKETCH], x[..., REFERENCE])
        if self.is_initializing():
            self.discriminate(image, x[..., SKETCH])
        return image

    def colour(self, sketch: jax.Array, reference: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Colours, and tells what it found where.

        Args:
            sketch: `[B, H, W, 1]` in [-1, 1].
            reference: `[B, H, W, 3]` in [-1, 1].

        Returns:
            The picture, `[B, H, W, 3]` in [-1, 1], and the attention's scaled dot products,
            `[B, N, N]` for N cells at the lowest level, row by row: cells of the sketch along the
            rows, cells of the reference along the columns.
        """
        return self.generator(sketch, reference)

    def discriminate(self, image: jax.Array, sketch: jax.Array) -> jax.Array:
        """Judges pictures `[B, H, W, 3]` with their sketches: about 1 is real, about 0 is not."""
        return self.discriminator(image, sketch)


def _all_levels(features: Sequence[jax.Array]) -> jax.Array:
    """Concatenates the features of all levels at the size of the lowest."""
    last = len(features) - 1
    reduced = [
        layers.downsample_average(x, 2 ** (last - level)) for level, x in enumerate(features)
    ]
    return jnp.concatenate(reduced, axis=-1)
