"""SSIM between images and their noised selves, over a range of noise levels.

The calibration of SSIMBaD (Seo et al. 2025, arXiv 2506.04283) rests on these curves. The official
code measures each candidate scale at its own noise levels, drawing anew at every point. Here all
noise levels of an image share one draw, a noise field larger than the image, and look at it through
windows of their own: nearly as independent as fresh noise, at a fraction of its cost, so that a
smooth curve fitted to them averages the noise out. Neighbouring levels take opposite signs, which
cancels what is odd in the noise.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ssimbad_jax import streams
from ssimbad_jax.metrics import ssim
from ssimbad_jax.streams import Stream

# Float32 arrays of an image's size that one noise level needs at a time.
_LIVE_ARRAYS = 12
# Height and width of the noise field in those of the image.
_FIELD = 3
# Processors are three times slower with more than fits into their cache.
_PROCESSOR_CACHE_BYTES = 4 * 2**20


def noise_ssim(
    key: jax.Array,
    images: np.ndarray,
    sigmas: np.ndarray,
    num_draws: int,
    mesh: Mesh,
    max_memory_bytes: int = 512 * 2**20,
    advance: Callable[[int], None] = lambda count: None,
) -> np.ndarray:
    """Returns the SSIM of every image with itself under every noise level.

    With x0 the image in [-1, 1] and n standard normal, the noised image is
    clip(x0 + sigma n, -1, 1); both are mapped to [0, 1] and compared with `ssim.ssim_uniform`.
    n is `noise_of_levels` of a key for the image and draw; the devices have no part in it.

    Args:
        key: random key.
        images: uint8 [N, H, W, C].
        sigmas: [S] noise levels.
        num_draws: noise draws for each image.
        mesh: devices to use, with one axis, over which the images are split.
        max_memory_bytes: bound on the working memory of each device.
        advance: told the number of images finished, after each group of them.

    Returns:
        float32 [num_draws, N, S].

    Raises:
        ValueError: images are not uint8 [N, H, W, C] with N >= 1, sigmas not positive, or
            num_draws < 1.
    """
    if images.ndim != 4 or images.dtype != np.uint8 or len(images) == 0:
        raise ValueError(
            f"images must be uint8 [N, H, W, C] with N at least 1; "
            f"got {images.dtype} {list(images.shape)}"
        )
    if np.ndim(sigmas) != 1 or not np.all(np.asarray(sigmas) > 0):
        raise ValueError("sigmas must be a vector of positive noise levels")
    if num_draws < 1:
        raise ValueError(f"num_draws is {num_draws}; it must be at least 1")

    if mesh.devices.flat[0].platform == "cpu":
        max_memory_bytes = min(max_memory_bytes, _PROCESSOR_CACHE_BYTES)
    bytes_per_sigma = _LIVE_ARRAYS * 4 * int(np.prod(images.shape[1:]))
    most_at_once = max(1, max_memory_bytes // bytes_per_sigma)
    num_chunks = -(-len(sigmas) // most_at_once)
    measure = _jitted_pass(mesh, num_draws, -(-len(sigmas) // num_chunks))

    # One image a device at a time; the last group is filled up with copies.
    (axis,) = mesh.axis_names
    group = mesh.shape[axis]
    indices = np.minimum(np.arange(-(-len(images) // group) * group), len(images) - 1)
    split = NamedSharding(mesh, PartitionSpec(axis))
    results = []
    for start in range(0, len(indices), group):
        chosen = indices[start : start + group]
        pixels, numbers = (
            jax.make_array_from_callback(array.shape, split, array.__getitem__)
            for array in (images[chosen], chosen.astype(np.int32))
        )
        curves = measure(key, np.asarray(sigmas, np.float32), numbers, pixels)
        results.append(np.asarray(curves))
        advance(min(group, len(images) - start))
    return np.concatenate(results)[: len(images)].transpose(1, 0, 2)


def noise_of_levels(key: jax.Array, shape: tuple[int, ...]) -> Callable[[Any], jax.Array]:
    """Returns the noise of each noise level of one image, out of one draw.

    Args:
        key: random key of the image and draw.
        shape: (H, W, C) of the image.

    Returns:
        level index, traced or not -> float32 [H, W, C], standard normal. Levels 2 k and 2 k + 1
        have the same noise with opposite signs.
    """
    height, width, channels = shape
    window_key = streams.fold_in(key, Stream.NOISE_WINDOW)
    field_key = streams.fold_in(key, Stream.NOISE_FIELD)
    field = jax.random.normal(field_key, (_FIELD * height, _FIELD * width, channels))
    furthest = jnp.asarray([(_FIELD - 1) * height, (_FIELD - 1) * width])

    def noise(level: Any) -> jax.Array:
        row, column = jax.random.randint(
            streams.fold_in(window_key, level // 2), (2,), 0, furthest + 1
        )
        sign = 1 - 2 * (level % 2)
        return sign * jax.lax.dynamic_slice(field, (row, column, 0), shape)

    return noise


@functools.lru_cache(maxsize=8)
def _jitted_pass(mesh: Mesh, num_draws: int, sigmas_at_once: int) -> jax.stages.Wrapped:
    """Returns the compiled (key, sigmas, numbers, images) -> [images, draws, sigmas]."""

    def curve(key: jax.Array, image: jax.Array, sigmas: jax.Array) -> jax.Array:
        x0 = image.astype(jnp.float32) / 127.5 - 1.0
        noise = noise_of_levels(key, x0.shape)

        def similarity(level_and_sigma: tuple[jax.Array, jax.Array]) -> jax.Array:
            level, sigma = level_and_sigma
            noised = jnp.clip(x0 + sigma * noise(level), -1.0, 1.0)
            return ssim.ssim_uniform((x0[None] + 1.0) / 2.0, (noised[None] + 1.0) / 2.0)[0]

        levels = jnp.arange(len(sigmas))
        # One at a time is no batch: a batch would gather its windows pixel by pixel.
        at_once = sigmas_at_once if sigmas_at_once > 1 else None
        return jax.lax.map(similarity, (levels, sigmas), batch_size=at_once)

    def curves(
        key: jax.Array, sigmas: jax.Array, numbers: jax.Array, images: jax.Array
    ) -> jax.Array:
        def one_image(number_and_image: tuple[jax.Array, jax.Array]) -> jax.Array:
            number, image = number_and_image
            image_key = streams.fold_in(key, number)
            return jax.lax.map(
                lambda draw: curve(streams.fold_in(image_key, draw), image, sigmas),
                jnp.arange(num_draws),
            )

        return jax.lax.map(one_image, (numbers, images))

    everywhere, split = PartitionSpec(), PartitionSpec(*mesh.axis_names)
    return jax.jit(
        jax.shard_map(
            curves, mesh=mesh, in_specs=(everywhere, everywhere, split, split), out_specs=split
        ),
        # Every host gets all curves.
        out_shardings=NamedSharding(mesh, everywhere),
    )
