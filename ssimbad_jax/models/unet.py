"""The U-Net of SSIMBaD, in Linen: arrays in, arrays out.

It is AnimeDiffusion's network (Cao et al. 2024), pinned to the number by
`tests/golden/denoiser.npz`: residual blocks with GroupNorm and SiLU, average-pool
down, nearest-neighbour up, one self-attention at the bottleneck, and a sinusoidal
embedding of the noise level that is added inside every block.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from ssimbad_jax.models import convolution, layers

INPUT_CHANNELS = 7  # noisy image, sketch, reference
CBAM_REDUCTION = 16
CBAM_KERNEL = 7
EMBEDDING_MAX_PERIOD = 1000.0


def sinusoidal_embedding(noise_embedding: jax.Array, features: int) -> jax.Array:
    """Embeds a scalar by cosines and sines of geometrically spaced frequencies.

    Args:
        noise_embedding: `[B]`, c_noise of the preconditioning, any range.
        features: number of components, even.

    Returns:
        `[B, features]`: `[cos(t f_i), sin(t f_i)]` with `f_i = 1000^(-i / half)`, `i < half`.
    """
    half = features // 2
    frequencies = EMBEDDING_MAX_PERIOD ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles = noise_embedding.astype(jnp.float32)[:, None] * frequencies[None, :]
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class NoiseEmbedding(nn.Module):
    """Sinusoidal embedding, then Dense-SiLU-Dense to four times as many features."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, noise_embedding: jax.Array) -> jax.Array:
        """Maps `[B]` to `[B, 4 * features]`."""
        h = sinusoidal_embedding(noise_embedding, self.features).astype(self.dtype)
        h = nn.Dense(
            4 * self.features, kernel_init=layers.kernel_init, dtype=self.dtype, name="dense_0"
        )(h)
        h = nn.silu(h)
        return nn.Dense(
            4 * self.features, kernel_init=layers.kernel_init, dtype=self.dtype, name="dense_1"
        )(h)


class ChannelAttention(nn.Module):
    """CBAM's channel gate: one bottleneck MLP on the average and on the maximum."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scales the channels of `[B, H, W, C]` by gates in (0, 1)."""
        channels = x.shape[-1]
        squeeze = nn.Dense(
            channels // CBAM_REDUCTION,
            use_bias=False,
            kernel_init=layers.kernel_init,
            dtype=self.dtype,
            name="squeeze",
        )
        excite = nn.Dense(
            channels,
            use_bias=False,
            kernel_init=layers.kernel_init,
            dtype=self.dtype,
            name="excite",
        )
        average = excite(nn.relu(squeeze(x.mean(axis=(1, 2)))))
        maximum = excite(nn.relu(squeeze(x.max(axis=(1, 2)))))
        return x * nn.sigmoid(average + maximum)[:, None, None, :]


class SpatialAttention(nn.Module):
    """CBAM's spatial gate: a 7x7 convolution of the channels' maximum and mean."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scales the positions of `[B, H, W, C]` by gates in (0, 1)."""
        pooled = jnp.concatenate(
            [x.max(axis=-1, keepdims=True), x.mean(axis=-1, keepdims=True)], axis=-1
        )
        gate = nn.Conv(
            1,
            (CBAM_KERNEL, CBAM_KERNEL),
            use_bias=False,
            kernel_init=layers.kernel_init,
            dtype=self.dtype,
            conv_general_dilated=convolution.convolve,
            name="conv",
        )(pooled)
        return x * nn.sigmoid(gate)


class ResidualBlock(nn.Module):
    """Norm-SiLU-conv twice, a noise embedding, if there is one, added between, and a residual."""

    features: int
    num_groups: int
    cbam: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array | None = None) -> jax.Array:
        """Maps `[B, H, W, C]` and an embedding `[B, E]` to `[B, H, W, features]`."""
        h = nn.silu(layers.group_norm(self.num_groups, self.dtype, "norm_0")(x))
        h = layers.conv(self.features, 3, self.dtype, "conv_0")(h)
        if embedding is not None:
            shift = nn.Dense(
                self.features, kernel_init=layers.kernel_init, dtype=self.dtype, name="embedding"
            )(nn.silu(embedding))
            h = h + shift[:, None, None, :]
        if self.cbam:
            h = ChannelAttention(self.dtype, name="channel_attention")(h)
            h = SpatialAttention(self.dtype, name="spatial_attention")(h)
        h = nn.silu(layers.group_norm(self.num_groups, self.dtype, "norm_1")(h))
        h = layers.conv(self.features, 3, self.dtype, "conv_1")(h)
        if x.shape[-1] != self.features:
            x = layers.conv(self.features, 1, self.dtype, "skip")(x)
        return h + x


class SelfAttention(nn.Module):
    """Multi-head self-attention over all positions, without an output projection."""

    num_heads: int
    num_groups: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, H, W, C]` to the same shape, with a residual around the attention."""
        batch, height, width, channels = x.shape
        h = layers.group_norm(self.num_groups, self.dtype, "norm")(x)
        h = h.reshape(batch, height * width, channels)
        qkv = nn.Dense(3 * channels, kernel_init=layers.kernel_init, dtype=self.dtype, name="qkv")(
            h
        )
        query, key, value = (
            part.reshape(batch, height * width, self.num_heads, channels // self.num_heads)
            for part in jnp.split(qkv, 3, axis=-1)
        )
        # The softmax runs in float32 whatever the compute dtype.
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key, preferred_element_type=jnp.float32)
        weights = nn.softmax(logits / jnp.sqrt(jnp.float32(query.shape[-1])), axis=-1)
        h = jnp.einsum("bhqk,bkhd->bqhd", weights.astype(value.dtype), value)
        return x + h.reshape(x.shape)


class UNet(nn.Module):
    """The raw network F of the preconditioning (Karras et al. 2022, equation 7).

    Attributes:
        base_channels: channels of the first level; also the size of the sinusoidal embedding.
        channel_multipliers: one entry a level; height and width halve between levels.
        num_res_blocks: residual blocks a level, in the encoder and in the decoder.
        num_heads: heads of the attention at the bottleneck.
        num_groups: groups of every GroupNorm; 32 is the official choice. Where it equals the
            number of channels (32 at base 32) GroupNorm is instance norm and removes the noise
            embedding at that level.
        cbam: channel and spatial attention in the decoder's blocks.
        out_channels: channels of the result.
        dtype: compute dtype. Parameters and the result are float32.
    """

    base_channels: int = 64
    channel_multipliers: Sequence[int] = (1, 2, 4, 8)
    num_res_blocks: int = 2
    num_heads: int = 4
    num_groups: int = 32
    cbam: bool = False
    out_channels: int = 3
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, noise_embedding: jax.Array) -> jax.Array:
        """Predicts the network's part of the denoised image.

        Args:
            x: `[B, H, W, 7]`: scaled noisy image, sketch and reference, along the channels.
                Height and width must be divisible by `2 ** (levels - 1)`.
            noise_embedding: `[B]`, c_noise.

        Returns:
            `[B, H, W, out_channels]`, float32.
        """
        embedding = NoiseEmbedding(self.base_channels, self.dtype, name="noise_embedding")(
            noise_embedding
        )
        h = layers.conv(self.base_channels, 1, self.dtype, "conv_in")(x.astype(self.dtype))
        h, skips = self._encode(h, embedding)

        h = self._block(h.shape[-1], "bottleneck_block_0")(h, embedding)
        h = SelfAttention(self.num_heads, self.num_groups, self.dtype, name="bottleneck_attention")(
            h
        )
        h = self._block(h.shape[-1], "bottleneck_block_1")(h, embedding)

        h = self._decode(h, skips, embedding)
        h = nn.silu(layers.group_norm(self.num_groups, self.dtype, "norm_out")(h))
        return layers.conv(self.out_channels, 1, self.dtype, "conv_out")(h).astype(jnp.float32)

    def _encode(self, h: jax.Array, embedding: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        skips = []
        for level, multiplier in enumerate(self.channel_multipliers):
            for block in range(self.num_res_blocks):
                name = f"encoder_{level}_block_{block}"
                h = self._block(multiplier * self.base_channels, name)(h, embedding)
                skips.append(h)
            if level + 1 < len(self.channel_multipliers):
                h = layers.downsample_average(h)
                skips.append(h)
        return h, skips

    def _decode(self, h: jax.Array, skips: list[jax.Array], embedding: jax.Array) -> jax.Array:
        for level, multiplier in reversed(list(enumerate(self.channel_multipliers))):
            features = multiplier * self.base_channels
            for block in range(self.num_res_blocks):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._block(features, f"decoder_{level}_block_{block}", self.cbam)(h, embedding)
            if level > 0:
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = self._block(features, f"decoder_{level}_up")(h, embedding)
                h = layers.upsample_nearest(h)
        return h

    def _block(self, features: int, name: str, cbam: bool = False) -> ResidualBlock:
        return ResidualBlock(features, self.num_groups, cbam, self.dtype, name=name)
