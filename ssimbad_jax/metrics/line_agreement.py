"""How well the fine structure of a picture agrees with a line drawing; the truth is no input.

Fine structure is what a Gaussian blur of one pixel takes away. In pictures of 32 to 256 px it
correlates with their sketches better than any finer or coarser structure, or soft thresholds.
"""

import dm_pix
import jax
import jax.numpy as jnp

SIGMA = 1.0  # pixels, of the blur
KERNEL = 7  # pixels, its width
_EPSILON = 1e-4  # least contrast that counts as structure; blank paper has none


def line_agreement(image: jax.Array, sketch: jax.Array) -> jax.Array:
    """Returns the correlation of the picture's fine structure with the sketch's.

    Args:
        image: float [B, H, W, 3], of any range.
        sketch: float [B, H, W, 1], dark lines on light paper, of any range.

    Returns:
        float32 [B] in [-1, 1]; 0 where either is blank.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check_shapes(image, sketch)
    return jnp.mean(_normalised(_fine(_grey(image))) * _drawn(sketch), axis=(1, 2))


def line_distance(image: jax.Array, sketch: jax.Array) -> jax.Array:
    """Returns half the squared distance of the picture's fine structure to the sketch's.

    The sketch's lines count as if they had the contrast of the picture's own structure, which is
    held fixed. A step of one gradient, length 1, nearly replaces the one with the other, along
    grey: colours stay.

    Args:
        image: see `line_agreement`.
        sketch: see `line_agreement`.

    Returns:
        float32 [B], summed over pixels, differentiable in `image`.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check_shapes(image, sketch)
    fine = _fine(_grey(image))
    target = jax.lax.stop_gradient(_contrast(fine)) * _drawn(sketch)
    return 0.5 * jnp.sum((fine - target) ** 2, axis=(1, 2))


def _check_shapes(image: jax.Array, sketch: jax.Array) -> None:
    if image.ndim != 4 or image.shape[-1] != 3 or sketch.shape != (*image.shape[:-1], 1):
        raise ValueError(
            "lines are compared between [B, H, W, 3] and a sketch [B, H, W, 1]; "
            f"got {image.shape} and {sketch.shape}"
        )


def _grey(image: jax.Array) -> jax.Array:
    """Returns the length along the grey axis of RGB, [B, H, W]."""
    return jnp.sum(image, axis=-1) / 3**0.5


def _fine(x: jax.Array) -> jax.Array:
    margin = KERNEL // 2
    padded = jnp.pad(x, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    # Fine structure is a small difference: products in bfloat16 or TF32, the default of
    # accelerators, would drown it.
    with jax.default_matmul_precision("highest"):
        blurred = dm_pix.gaussian_blur(padded[..., None], SIGMA, KERNEL, padding="VALID")
    fine = x - jnp.asarray(blurred)[..., 0]
    return fine - jnp.mean(fine, axis=(1, 2), keepdims=True)


def _contrast(fine: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(fine**2, axis=(1, 2), keepdims=True) + _EPSILON**2)


def _normalised(fine: jax.Array) -> jax.Array:
    return fine / _contrast(fine)


def _drawn(sketch: jax.Array) -> jax.Array:
    return _normalised(_fine(sketch[..., 0]))
