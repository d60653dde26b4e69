"""The Inception network that the Frechet Inception distance is defined with.

This is the graph of 2015 that TensorFlow's `classify_image` used (Szegedy et al. 2016 with other
paddings and poolings), in the layout of torch-fidelity's and pytorch-fid's ports, whose file of
weights (`weights-inception-2015-12-05-6726825d.pth`, `pt_inception-2015-12-05-6726825d.pth`) is
read by `load`. torchvision's Inception v3 is another network, and its features are not FID's.
"""

import functools
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from ssimbad_jax.models import torch_file

# Features of the standard Frechet Inception distance.
NUM_FEATURES = 2048
_SIDE = 299
_OFFICIAL_NAMES = {
    ("params", "kernel"): "weight",
    ("params", "scale"): "weight",
    ("params", "bias"): "bias",
    ("batch_stats", "mean"): "running_mean",
    ("batch_stats", "var"): "running_var",
}


class Inception(nn.Module):
    """Features of images at four depths."""

    @nn.compact
    def __call__(self, images: jax.Array) -> dict[int, jax.Array]:
        """Looks at images of any size, resized as TensorFlow 1 did.

        Args:
            images: float [B, H, W, 3] in [0, 1].

        Returns:
            Features averaged over all positions, float32 [B, D], by D: 64 (after the first
            max-pooling), 192 (after the second), 768 (before the second reduction) and 2048 (the
            last, those of FID).
        """
        with jax.default_matmul_precision("highest"):
            x = (255 * resize_like_tensorflow_1(images, _SIDE) - 128) / 128
            x = _Convolution(32, 3, 2, name="Conv2d_1a_3x3")(x)
            x = _Convolution(32, 3, padding="VALID", name="Conv2d_2a_3x3")(x)
            x = _Convolution(64, 3, name="Conv2d_2b_3x3")(x)
            x = _halving_pool(x)
            features = {64: x}
            x = _Convolution(80, 1, name="Conv2d_3b_1x1")(x)
            x = _Convolution(192, 3, padding="VALID", name="Conv2d_4a_3x3")(x)
            x = _halving_pool(x)
            features[192] = x
            for letter, pool_features in (("b", 32), ("c", 64), ("d", 64)):
                x = _Mixed5(pool_features, name=f"Mixed_5{letter}")(x)
            x = _Mixed6a(name="Mixed_6a")(x)
            for letter, inner_features in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
                x = _Mixed6(inner_features, name=f"Mixed_6{letter}")(x)
            features[768] = x
            x = _Mixed7a(name="Mixed_7a")(x)
            x = _Mixed7(max_pool=False, name="Mixed_7b")(x)
            x = _Mixed7(max_pool=True, name="Mixed_7c")(x)
            features[NUM_FEATURES] = x
        return {count: jnp.mean(x, axis=(1, 2)) for count, x in features.items()}


class _Convolution(nn.Module):
    """Convolution, batch normalisation with fixed statistics, ReLU."""

    features: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: str | None = None  # by default "SAME" with stride 1, "VALID" with stride 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = (self.kernel,) * 2 if isinstance(self.kernel, int) else self.kernel
        padding = self.padding or ("SAME" if self.stride == 1 else "VALID")
        x = nn.Conv(self.features, kernel, self.stride, padding, use_bias=False, name="conv")(x)
        return nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(x))


class _Mixed5(nn.Module):
    pool_features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        one = _Convolution(64, 1, name="branch1x1")(x)
        five = _Convolution(48, 1, name="branch5x5_1")(x)
        five = _Convolution(64, 5, name="branch5x5_2")(five)
        three = _Convolution(64, 1, name="branch3x3dbl_1")(x)
        three = _Convolution(96, 3, name="branch3x3dbl_2")(three)
        three = _Convolution(96, 3, name="branch3x3dbl_3")(three)
        pool = _Convolution(self.pool_features, 1, name="branch_pool")(_average_pool(x))
        return jnp.concatenate([one, five, three, pool], axis=-1)


class _Mixed6a(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        three = _Convolution(384, 3, 2, name="branch3x3")(x)
        double = _Convolution(64, 1, name="branch3x3dbl_1")(x)
        double = _Convolution(96, 3, name="branch3x3dbl_2")(double)
        double = _Convolution(96, 3, 2, name="branch3x3dbl_3")(double)
        return jnp.concatenate([three, double, _halving_pool(x)], axis=-1)


class _Mixed6(nn.Module):
    inner_features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner, row, column = self.inner_features, (1, 7), (7, 1)
        one = _Convolution(192, 1, name="branch1x1")(x)
        seven = _Convolution(inner, 1, name="branch7x7_1")(x)
        seven = _Convolution(inner, row, name="branch7x7_2")(seven)
        seven = _Convolution(192, column, name="branch7x7_3")(seven)
        double = _Convolution(inner, 1, name="branch7x7dbl_1")(x)
        double = _Convolution(inner, column, name="branch7x7dbl_2")(double)
        double = _Convolution(inner, row, name="branch7x7dbl_3")(double)
        double = _Convolution(inner, column, name="branch7x7dbl_4")(double)
        double = _Convolution(192, row, name="branch7x7dbl_5")(double)
        pool = _Convolution(192, 1, name="branch_pool")(_average_pool(x))
        return jnp.concatenate([one, seven, double, pool], axis=-1)


class _Mixed7a(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        three = _Convolution(192, 1, name="branch3x3_1")(x)
        three = _Convolution(320, 3, 2, name="branch3x3_2")(three)
        seven = _Convolution(192, 1, name="branch7x7x3_1")(x)
        seven = _Convolution(192, (1, 7), name="branch7x7x3_2")(seven)
        seven = _Convolution(192, (7, 1), name="branch7x7x3_3")(seven)
        seven = _Convolution(192, 3, 2, name="branch7x7x3_4")(seven)
        return jnp.concatenate([three, seven, _halving_pool(x)], axis=-1)


class _Mixed7(nn.Module):
    max_pool: bool  # a slip of 2015 in the last block, which FID is defined with

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        row, column = (1, 3), (3, 1)
        one = _Convolution(320, 1, name="branch1x1")(x)
        three = _Convolution(384, 1, name="branch3x3_1")(x)
        three_row = _Convolution(384, row, name="branch3x3_2a")(three)
        three_column = _Convolution(384, column, name="branch3x3_2b")(three)
        double = _Convolution(448, 1, name="branch3x3dbl_1")(x)
        double = _Convolution(384, 3, name="branch3x3dbl_2")(double)
        double_row = _Convolution(384, row, name="branch3x3dbl_3a")(double)
        double_column = _Convolution(384, column, name="branch3x3dbl_3b")(double)
        pool = nn.max_pool(x, (3, 3), padding="SAME") if self.max_pool else _average_pool(x)
        pool = _Convolution(192, 1, name="branch_pool")(pool)
        branches = [one, three_row, three_column, double_row, double_column, pool]
        return jnp.concatenate(branches, axis=-1)


def _halving_pool(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), strides=(2, 2))


def _average_pool(x: jax.Array) -> jax.Array:
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def resize_like_tensorflow_1(images: jax.Array, side: int) -> jax.Array:
    """Resizes bilinearly with the upper left corners aligned: pixel i looks at i * size / side.

    TensorFlow 1's `resize_bilinear`, which does not centre pixels and does not smooth.

    Args:
        images: float [B, H, W, C].
        side: height and width of the result.

    Returns:
        float32 [B, side, side, C].
    """
    rows, columns = (_interpolation(size, side) for size in images.shape[1:3])
    return jnp.einsum(
        "ih,jw,bhwc->bijc", rows, columns, images.astype(jnp.float32), precision="highest"
    )


def _interpolation(size: int, side: int) -> np.ndarray:
    """Returns the weights [side, size] of the pixels of one axis."""
    position = np.arange(side) * (size / side)
    below = np.floor(position).astype(int)
    above, fraction = np.minimum(below + 1, size - 1), position - below
    weights = np.zeros((side, size), np.float32)
    np.add.at(weights, (np.arange(side), below), 1 - fraction)
    np.add.at(weights, (np.arange(side), above), fraction)
    return weights


def official_shapes() -> dict[str, tuple[int, ...]]:
    """Returns the shape of every array that `from_official` needs, by its name in the ports."""
    return {_official_name(path): _official_shape(x.shape) for path, x in _expected().items()}


def from_official(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts the ports' weights to the variables of `Inception`.

    Args:
        arrays: by the ports' names, convolutions OIHW. What classifies (`fc`) is not needed.

    Returns:
        The tree for `Inception().apply(tree, images)`, float32.

    Raises:
        ValueError: arrays are missing or of another shape; the message names them.
    """
    expected = official_shapes()
    missing = [name for name in expected if name not in arrays]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(expected)} arrays are missing, among them {missing[0]!r}; the "
            "weights have to be those of weights-inception-2015-12-05"
        )
    flat = {}
    for path in _expected():
        name = _official_name(path)
        array = np.asarray(arrays[name])
        if array.shape != expected[name]:
            raise ValueError(
                f"{name!r} has shape {array.shape}, expected {expected[name]}; the weights have to "
                "be those of weights-inception-2015-12-05"
            )
        array = array.astype(np.float32)
        flat[path] = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array
    return traverse_util.unflatten_dict(flat)


def load(path: pathlib.Path) -> dict[str, Any]:
    """Reads the variables of `Inception` from a file of weights; executes nothing in it.

    Args:
        path: the ports' `.pth`, or an `.npz` with its arrays by the same names.

    Returns:
        The tree for `Inception().apply(tree, images)`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file, or its arrays do not fit; the message names them.
    """
    if not path.is_file():
        raise FileNotFoundError(f"the Inception weights {str(path)!r} are no file; check the path")
    try:
        if path.suffix == ".npz":
            with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
                arrays: Mapping[str, Any] = {name: file[name] for name in file}
        else:
            arrays = torch_file.read(path)
        return from_official(arrays)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"the Inception weights {str(path)!r} cannot be used: {error}") from error


@functools.cache
def _expected() -> dict[tuple[str, ...], jax.ShapeDtypeStruct]:
    image = jax.ShapeDtypeStruct((1, _SIDE, _SIDE, 3), np.float32)
    return traverse_util.flatten_dict(jax.eval_shape(Inception().init, jax.random.key(0), image))


def _official_name(path: tuple[str, ...]) -> str:
    collection, *modules, kind = path
    return ".".join([*modules, _OFFICIAL_NAMES[collection, kind]])


def _official_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape
