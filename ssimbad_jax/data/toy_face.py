"""TFDS builder of the built-in procedural anime faces, drawn by `toy_faces.drawing`.

It needs no download, no network and no TensorFlow: pictures are stored as PNG in array_record files
and read with random access through `builder.as_data_source()`.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import itertools
import multiprocessing
import os
import pathlib
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from ssimbad_jax.data import counting, prepared
from ssimbad_jax.data.toy_faces import drawing

_MAX_COUNT = 1 << 32  # the index fills the low 32 bits of a face's seed
_BLOCK = 2048  # pictures drawn ahead of the writer at most, to bound memory
_FACES_FOR_A_WORKER = 250  # starting one more process takes about as long as drawing this many
_SPLITS = ("train", "test")


@dataclasses.dataclass(eq=False)
class ToyFaceConfig(tfds.core.BuilderConfig):
    """How many faces to draw, and how large.

    The name, and with it the directory of the prepared data, is derived from the fields, so that
    two configurations never share files.

    Attributes:
        train: Number of training faces.
        test: Number of test faces.
        size: Height and width in pixels.
        seed: Seed of the whole set; each seed has its own faces.
    """

    name: str = dataclasses.field(init=False, default="")  # derived
    train: int = 4000
    test: int = 200
    size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        """Checks the fields and derives the name."""
        for split in _SPLITS:
            count = getattr(self, split)
            if not 1 <= count < _MAX_COUNT:
                raise ValueError(f"{split} must be a count of 1 or more faces, got {count}.")
        if self.size < drawing.MIN_SIZE:
            raise ValueError(f"size must be {drawing.MIN_SIZE} pixels or more, got {self.size}.")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, got {self.seed}.")
        self.name = f"{self.size}px_train{self.train}_test{self.test}_seed{self.seed}"


class ToyFace(tfds.core.GeneratorBasedBuilder):
    """Anime faces drawn from seeds; `prepare` builds and returns it."""

    VERSION = tfds.core.Version(drawing.VERSION)
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        drawing.VERSION: "Procedural faces of ssimbad_jax.data.toy_faces."
    }

    def __init__(self, *, workers: int | None = None, **kwargs: Any):
        """Takes the arguments of every TFDS builder.

        Args:
            workers: Processes that draw; None for as many as there are cores and faces for them.
            **kwargs: Arguments of `tfds.core.GeneratorBasedBuilder`; `config` is a `ToyFaceConfig`.
        """
        self._workers = workers
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.size
        return tfds.core.DatasetInfo(
            builder=self,
            description="Procedural anime faces, drawn from seeds.",
            features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(shape=(size, size, 3))}
            ),
            disable_shuffling=True,  # record i is face i; the faces are independent draws
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # nothing to download
        return {split: self._generate_examples(split) for split in _SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[str, dict[str, bytes]]]:
        faces = self.builder_config
        count = getattr(faces, split)
        seeds = (face_seed(faces.seed, split, index) for index in range(count))
        pictures = _draw_all(seeds, faces.size, self._num_workers(count))
        shown = counting.counted(pictures, f"drawing for {split}", count, "faces")
        for index, png in enumerate(shown):
            yield f"{index:010d}", {"image": png}

    def _num_workers(self, count: int) -> int:
        if self._workers is not None:
            return self._workers
        return max(1, min(os.cpu_count() or 1, count // _FACES_FOR_A_WORKER))


def face_seed(seed: int, split: str, index: int) -> int:
    """Returns the drawing seed of face `index` of a split; no two faces share one.

    Args:
        seed: Seed of the whole set.
        split: "train" or "test".
        index: Position in the split, below 2**32.
    """
    return (seed * len(_SPLITS) + _SPLITS.index(split)) * _MAX_COUNT + index


def _draw_all(seeds: Iterator[int], size: int, workers: int) -> Iterator[bytes]:
    """Yields the encoded pictures in the order of the seeds, whatever the number of workers."""
    draw = functools.partial(drawing.draw_png, size=size)
    if workers == 1:
        yield from map(draw, seeds)
        return
    # Spawned, not forked: forking a process in which JAX runs threads can hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=context, initializer=_end_with_parent
    ) as pool:
        while block := list(itertools.islice(seeds, _BLOCK)):
            yield from pool.map(draw, block, chunksize=16)


def _end_with_parent() -> None:
    """Ends this worker when its parent is killed; it would wait for work for ever."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def prepare(
    data_dir: pathlib.Path,
    *,
    train: int,
    test: int,
    size: int,
    seed: int = 0,
    workers: int | None = None,
) -> tfds.core.DatasetBuilder:
    """Returns the builder of a set of faces, drawing them first if `data_dir` lacks them.

    Args:
        data_dir: Directory of prepared data sets; created if needed.
        train: Number of training faces, at least 1.
        test: Number of test faces, at least 1.
        size: Height and width in pixels, at least 8.
        seed: Seed of the whole set.
        workers: Processes that draw; None for as many as there are cores and faces for them.

    Returns:
        A prepared builder: `builder.as_data_source(split="train")[i]["image"]` is uint8
        [size, size, 3].

    Raises:
        ValueError: If a count, the size, the seed or the number of workers is out of range, or
            prepared data is damaged.
        OSError: If `data_dir` cannot be written.
    """
    faces = ToyFaceConfig(train=train, test=test, size=size, seed=seed)
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be 1 or more, or None, got {workers}.")
    folder = prepared.folder_of(ToyFace, faces, data_dir)
    message = f"Drawing {train + test} anime faces of {size} px into {folder}"
    return prepared.make_ready(ToyFace, faces, data_dir, message=message, workers=workers)
