"""Evaluation pairs: targets, sketches, and references of the two test settings.

*Same reference*: the reference is a warp of the target. *Cross reference*: it is a warp of
another face, so that the colours asked for are not the target's.
"""

import pathlib
import zipfile
import zlib
from typing import NamedTuple

import jax
import numpy as np

from ssimbad_jax import streams
from ssimbad_jax.data import conditions, pipeline
from ssimbad_jax.streams import Stream

SETTINGS = ("same", "cross")


class Pairs(NamedTuple):
    """Pictures to colour, as 8-bit arrays.

    Attributes:
        gt: uint8 `[N, H, W, 3]`, the targets.
        sketch: uint8 `[N, H, W]`, 0 on lines and 255 on paper.
        reference_same: uint8 `[N, H, W, 3]`, warps of the targets.
        reference_cross: uint8 `[N, H, W, 3]`, warps of other faces.
    """

    gt: np.ndarray
    sketch: np.ndarray
    reference_same: np.ndarray
    reference_cross: np.ndarray

    def reference(self, setting: str) -> np.ndarray:
        """Returns the references of "same" or "cross"."""
        return {"same": self.reference_same, "cross": self.reference_cross}[setting]

    def first(self, count: int) -> "Pairs":
        """Returns the first `count` pairs; 0 returns all."""
        return Pairs(*(array[: count or None] for array in self))


def load(path: pathlib.Path, image_size: int) -> Pairs:
    """Reads pairs from an .npz with the arrays of `Pairs`.

    Args:
        path: the file.
        image_size: height and width the model works at.

    Returns:
        The pairs.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no .npz of pairs, or of another size.
    """
    if not path.is_file():
        raise FileNotFoundError(f"eval.pairs is {str(path)!r}, which is no file; check the path")
    try:
        # Opened as an archive first: NumPy takes other kinds of files, too.
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in Pairs._fields if name in file}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"eval.pairs is {str(path)!r}, which is no .npz of arrays: {error}"
        ) from error
    missing = [name for name in Pairs._fields if name not in arrays]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}; an .npz of pairs has {Pairs._fields}")
    count = max([1, *arrays["gt"].shape[:1]])
    for name, array in arrays.items():
        shape = (count, image_size, image_size, 3)[: 3 if name == "sketch" else 4]
        if array.shape != shape or array.dtype != np.uint8:
            raise ValueError(
                f"{name} in {path} is {array.dtype} {array.shape}, expected uint8 {shape}; make "
                f"the pairs at data.image_size = {image_size} or set it to theirs"
            )
    return Pairs(**arrays)


def make(
    source: pipeline.Source, key: jax.Array, *, image_size: int, warp: str, batch_size: int = 16
) -> Pairs:
    """Makes pairs of a test split: the same key makes the same pairs.

    Args:
        source: the pictures, two or more.
        key: PRNG key of sketches, warps, and whose face is whose cross reference.
        image_size: height and width the model works at.
        warp: kind of the reference's warp.
        batch_size: pictures worked on at once; the pairs depend on it.

    Returns:
        One pair a picture, in the source's order.

    Raises:
        ValueError: there is only one picture, and so nobody else's face.
    """
    if len(source) < 2:
        raise ValueError(
            f"The test split has {len(source)} picture(s), but a cross reference needs somebody "
            "else's face: add pictures, or pass --config.eval.pairs=FILE.npz"
        )

    @jax.jit
    def convert(key: jax.Array, batch: dict[str, jax.Array]) -> list[jax.Array]:
        made = conditions.make_conditions(key, batch, image_size=image_size, warp=warp)
        return [conditions.to_uint8(x) for x in (made.image, made.sketch, made.reference)]

    pictures_key = streams.fold_in(key, Stream.PICTURES)
    parts = []
    for index, batch in enumerate(pipeline.eval_batches(source, batch_size=batch_size)):
        stored = {name: batch[name] for name in ("image", "sketch") if name in batch}
        made = convert(streams.fold_in(pictures_key, index), stored)
        parts.append([np.asarray(part)[batch["mask"]] for part in made])
    gt, sketch, reference = (np.concatenate(part) for part in zip(*parts, strict=True))
    # Each face lends its warp to the one before it in a random circle: never to itself.
    circle = np.asarray(jax.random.permutation(streams.fold_in(key, Stream.ORDER), len(gt)))
    cross_index = np.empty_like(circle)
    cross_index[circle] = np.roll(circle, -1)
    return Pairs(gt, sketch[..., 0], reference, reference[cross_index])
