"""From stored pictures to what the model sees: target, sketch and reference."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssimbad_jax import streams
from ssimbad_jax.data import sketch as sketch_lib
from ssimbad_jax.data import warp as warp_lib
from ssimbad_jax.streams import Stream

# In place of a condition that is not given: mid grey all over, as no sketch or reference is.
NOT_GIVEN = 0.0


class Conditioned(NamedTuple):
    """A batch as the model sees it; pictures are float32 in [-1, 1].

    Attributes:
        image: `[B, H, W, 3]`, the target.
        sketch: `[B, H, W, 1]`, -1 on lines and 1 on paper.
        reference: `[B, H, W, 3]`.
        warp_map: `[B, H, W, 2]`, where in the target a pixel of the reference comes from: (x, y)
            in pixels, (0, 0) being the middle of the upper left one.
    """

    image: jax.Array
    sketch: jax.Array
    reference: jax.Array
    warp_map: jax.Array

    @property
    def condition(self) -> jax.Array:
        """`[B, H, W, 4]`: sketch and reference along the channels."""
        return jnp.concatenate([self.sketch, self.reference], axis=-1)


def sketch_of(condition: jax.Array) -> jax.Array:
    """Returns the sketch, `[B, H, W, 1]`, of a condition `[B, H, W, 4]`."""
    return condition[..., :1]


def reference_of(condition: jax.Array) -> jax.Array:
    """Returns the reference, `[B, H, W, 3]`, of a condition `[B, H, W, 4]`."""
    return condition[..., 1:]


def without_reference(condition: jax.Array) -> jax.Array:
    """Returns `[B, H, W, 4]` with the sketch alone."""
    return condition.at[..., 1:].set(NOT_GIVEN)


def without_both(condition: jax.Array) -> jax.Array:
    """Returns `[B, H, W, 4]` that says nothing."""
    return jnp.full_like(condition, NOT_GIVEN)


def drop(
    key: jax.Array, condition: jax.Array, sketch_probability: float, reference_probability: float
) -> jax.Array:
    """Takes sketches and references away at random, so that a network learns to do without.

    Args:
        key: PRNG key.
        condition: `[B, H, W, 4]`.
        sketch_probability: of each example, to lose its sketch.
        reference_probability: of each example, independently, to lose its reference.

    Returns:
        `[B, H, W, 4]`, with `NOT_GIVEN` in place of what was taken.
    """
    count = condition.shape[0]
    no_sketch = jax.random.bernoulli(
        streams.fold_in(key, Stream.SKETCH), sketch_probability, (count,)
    )
    no_reference = jax.random.bernoulli(
        streams.fold_in(key, Stream.REFERENCE), reference_probability, (count,)
    )
    taken = jnp.stack([no_sketch, *[no_reference] * 3], axis=-1)[:, None, None, :]
    return jnp.where(taken, NOT_GIVEN, condition)


def jitter_colours(
    key: jax.Array, image: jax.Array, condition: jax.Array, strength: float
) -> tuple[jax.Array, jax.Array]:
    """Shifts the colour channels of each target and of its reference alike.

    The reference stays one of its target, while colours stop following from the sketch (Lee et al.
    2020, arXiv 2005.05207, section on the augmented-self reference).

    Args:
        key: PRNG key.
        image: `[B, H, W, 3]` in [-1, 1].
        condition: `[B, H, W, 4]`.
        strength: shifts are uniform in [-strength, strength].

    Returns:
        Image and condition, clipped to [-1, 1]; sketches are left as they are.
    """
    shape = (image.shape[0], 1, 1, 3)
    shift = jax.random.uniform(key, shape, minval=-strength, maxval=strength)
    of_condition = jnp.concatenate([jnp.zeros((*shape[:3], 1)), shift], axis=-1)
    return jnp.clip(image + shift, -1.0, 1.0), jnp.clip(condition + of_condition, -1.0, 1.0)


def from_uint8(picture: jax.Array) -> jax.Array:
    """Maps uint8 in [0, 255] to float32 in [-1, 1]."""
    return picture.astype(jnp.float32) / 127.5 - 1.0


def to_uint8(picture: jax.Array) -> jax.Array:
    """Maps floats in [-1, 1] to uint8 in [0, 255], clipped and rounded."""
    return jnp.rint((jnp.clip(picture, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def resize(picture: jax.Array, size: int) -> jax.Array:
    """Resizes `[B, H, W, C]` to `[B, size, size, C]`, bilinear and antialiased."""
    if picture.shape[1:3] == (size, size):
        return picture
    shape = (picture.shape[0], size, size, picture.shape[-1])
    return jax.image.resize(picture, shape, "linear", precision=jax.lax.Precision.HIGHEST)


def make_conditions(
    key: jax.Array, batch: dict[str, jax.Array], *, image_size: int, warp: str
) -> Conditioned:
    """Draws sketch and reference at the stored size, then resizes all of them.

    The order matters: lines drawn at 256 px and resized are grey and thin, lines drawn at 32 px
    would be black and cover half of the face. The paper draws at 256 px.

    Args:
        key: PRNG key.
        batch: `image` uint8 `[B, S, S, 3]`, and `sketch` uint8 `[B, S, S, 1]` where the data set
            comes with sketches; they are used as they are.
        image_size: H = W of the result.
        warp: kind of the reference's warp, "paper" or "natural".

    Returns:
        Target, sketch, reference and how the reference was warped, `[B, H, W, *]`.
    """
    image = from_uint8(batch["image"])
    if "sketch" in batch:
        sketch = from_uint8(batch["sketch"])
    else:
        sketch = sketch_lib.random_xdog(streams.fold_in(key, Stream.SKETCH), image)
    reference, warp_map = warp_lib.random_warp(streams.fold_in(key, Stream.REFERENCE), image, warp)
    return Conditioned(
        image=resize(image, image_size),
        sketch=resize(sketch, image_size),
        reference=resize(reference, image_size),
        # Pixels shrink about the picture's corner, not about the middle of its first pixel.
        warp_map=(resize(warp_map, image_size) + 0.5) * (image_size / image.shape[1]) - 0.5,
    )
