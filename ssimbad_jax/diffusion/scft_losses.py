"""The terms of SCFT's training loss (Lee et al. 2020, arXiv 2005.05207).

Each is a pure function that returns one value an example.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

# (image [B, H, W, 3], sketch [B, H, W, 1]) -> verdicts [B, h, w, 1]; about 1 means real.
Judge = Callable[[jax.Array, jax.Array], jax.Array]


def absolute_error(image: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute error of each image: `[B, ...]` twice -> `[B]`."""
    return jnp.mean(jnp.abs(image - target), axis=tuple(range(1, image.ndim)))


def perceptual_loss(features: Sequence[jax.Array], targets: Sequence[jax.Array]) -> jax.Array:
    """Sum over layers of the mean absolute difference of features.

    Args:
        features: of the image, `[B, h, w, C]` each.
        targets: of the target, the same layers.

    Returns:
        `[B]`.
    """
    return jnp.stack([absolute_error(a, b) for a, b in zip(features, targets, strict=True)]).sum(0)


def style_loss(features: Sequence[jax.Array], targets: Sequence[jax.Array]) -> jax.Array:
    """Sum over layers of the mean absolute difference of Gram matrices.

    Args:
        features: of the image, `[B, h, w, C]` each.
        targets: of the target, the same layers.

    Returns:
        `[B]`.
    """
    return perceptual_loss(*([gram_matrix(x) for x in layers] for layers in (features, targets)))


def gram_matrix(features: jax.Array) -> jax.Array:
    """Products of channels, summed over positions: which features occur together.

    Args:
        features: `[B, h, w, C]`.

    Returns:
        `[B, C, C]`, divided by `h w C`.
    """
    height, width, channels = features.shape[1:]
    products = jnp.einsum("bhwi,bhwj->bij", features, features)
    return products / (height * width * channels)


def adversarial_losses(
    image: jax.Array, target: jax.Array, sketch: jax.Array, judge: Judge, frozen_judge: Judge
) -> tuple[jax.Array, jax.Array]:
    """Both sides of a least-squares GAN that is conditioned on the sketch (Mao et al. 2017).

    Their sum has the gradients of the game: that of the first reaches the generator alone, that of
    the second the discriminator alone.

    Args:
        image: `[B, H, W, 3]`, generated.
        target: `[B, H, W, 3]`, real.
        sketch: `[B, H, W, 1]` of both.
        judge: the discriminator.
        frozen_judge: the discriminator with parameters that get no gradient.

    Returns:
        Loss of the generator, `[B]`, and of the discriminator, `[B]`.
    """

    def squared_distance(verdicts: jax.Array, wanted: float) -> jax.Array:
        return jnp.mean((verdicts - wanted) ** 2, axis=(1, 2, 3))

    of_generator = squared_distance(frozen_judge(image, sketch), 1.0)
    on_fake = squared_distance(judge(jax.lax.stop_gradient(image), sketch), 0.0)
    on_real = squared_distance(judge(target, sketch), 1.0)
    return of_generator, 0.5 * (on_fake + on_real)


def triplet_loss(scores: jax.Array, correspondence: jax.Array, margin: float) -> jax.Array:
    """Wants what corresponds to score above what does not, by a margin.

    For each position of the sketch the positive is the mean score of the places of the reference
    that show it, weighted by how much, and the negatives are all other places. Where the paper
    draws one negative at random, this is the mean over the draw.

    Args:
        scores: `[B, N, M]`, of N positions of the sketch with M of the reference.
        correspondence: `[B, N, M]`, weights of 0 or more; see `correspondence_weights`.
        margin: of scores.

    Returns:
        `[B]`: the mean over the positions that the reference shows; 0 if it shows none.
    """
    shown = correspondence.sum(axis=-1)
    positive = (correspondence * scores).sum(axis=-1) / jnp.where(shown > 0, shown, 1.0)
    is_negative = (correspondence == 0).astype(scores.dtype)
    excess = jax.nn.relu(margin - positive[..., None] + scores) * is_negative
    of_query = excess.sum(axis=-1) / jnp.maximum(is_negative.sum(axis=-1), 1.0)
    is_shown = (shown > 0).astype(scores.dtype)
    return (of_query * is_shown).sum(axis=-1) / jnp.maximum(is_shown.sum(axis=-1), 1.0)


def correspondence_weights(warp_map: jax.Array, cell: int) -> jax.Array:
    """Tells which cells of a warped picture show which cells of the original.

    A cell shows what is at its middle, which lies between four cells of the original: their
    weights are those of bilinear interpolation. What is outside of the picture is nowhere.

    Args:
        warp_map: `[B, H, W, 2]`, for each pixel of the warped picture the position (x, y) in the
            original, in pixels, (0, 0) being the middle of the upper left one.
        cell: pixels along a side of a cell; divides H and W.

    Returns:
        `[B, N, N]` for N cells, row by row: the original's along the rows, the warped picture's
        along the columns.
    """
    batch, height, width, _ = warp_map.shape
    rows, columns = height // cell, width // cell
    middles = warp_map.reshape(batch, rows, cell, columns, cell, 2).mean(axis=(2, 4))
    position = (middles + 0.5) / cell - 0.5

    def near(position: jax.Array, count: int) -> jax.Array:
        cells = jnp.arange(count, dtype=position.dtype)[None, None, None, :]
        distance = jnp.abs(position[..., None] - cells)
        return jax.nn.relu(1.0 - distance)

    across = near(position[..., 0], columns)
    down = near(position[..., 1], rows)
    return jnp.einsum("bhwy,bhwx->byxhw", down, across).reshape(
        batch, rows * columns, rows * columns
    )
