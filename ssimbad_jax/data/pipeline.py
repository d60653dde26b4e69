"""From a prepared data set to batches on the devices, with random access by grain.

The global order of samples is a pure function of (seed, epoch), so a position in it
is one number: sample n since the start of training is element n % N of the
permutation of epoch n // N. Batches run across epoch borders and drop nothing.
Starting at any sample costs the same, and each host reads only its slice of each
global batch: a run may move between numbers of hosts, devices and workers.
"""

import collections
import contextlib
import hashlib
import io
import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import grain
import jax
import numpy as np
import PIL.Image
import tensorflow_datasets as tfds
from absl import flags

from ssimbad_jax.data import prepared

Batch = Mapping[str, np.ndarray]


class Records(Protocol):
    """What batches are read from: a `Source`, or anything that looks like one."""

    split: str

    def __len__(self) -> int:
        """Returns the number of records."""

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Reads and decodes record `index`."""


class Source:
    """One split of a prepared data set: `source[i]` is record i, decoded.

    A record holds `image` uint8 [S, S, 3] in [0, 255], `sketch` uint8 [S, S, 1] where
    the data set has sketches, and `index` int64 [], its own number.

    Attributes:
        split: name of the split.
        size: S, height and width of the stored pictures in pixels.
        has_sketches: whether records hold a `sketch`.
        fingerprint: short hash of the data set, its stored size and the split.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str):
        """Opens a split; see `open_source`."""
        features = builder.info.features
        # Pillow decodes, so that pixels do not depend on whether OpenCV is installed.
        self._decoders = {
            name: tfds.decode.SkipDecoding()
            for name, feature in features.items()
            if isinstance(feature, tfds.features.Image)
        }
        self._records = builder.as_data_source(split, decoders=self._decoders)
        self._data_dir = str(builder.data_dir)
        self.split = split
        self.size = int(self[0]["image"].shape[0])
        self.has_sketches = "sketch" in features
        self.fingerprint = _fingerprint(builder, split)

    def __len__(self) -> int:
        """Returns the number of records."""
        return len(self._records)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """Reads and decodes record `index`.

        Raises:
            prepared.DamagedError: its file is cut off, or its bytes changed.
        """
        with self._naming_damage(index):
            record = self._records[index]
            pictures = {name: _decode(record[name]) for name in self._decoders}
        return {**pictures, "index": np.asarray(index, np.int64)}

    def __repr__(self) -> str:
        """Names the data; grain compares this when it restores an iterator."""
        return f"Source({self.fingerprint}, {self.split})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles as a path: worker processes open the prepared data themselves."""
        return _reopen, (self._data_dir, self.split)

    def name(self, index: int) -> str:
        """Returns the source file's name of record `index`, or its number."""
        with self._naming_damage(index):
            name = self._records[index].get("name")
        return name.decode() if name is not None else f"{index:05d}"

    @contextlib.contextmanager
    def _naming_damage(self, index: int) -> Iterator[None]:
        # array_record keeps checksums and raises RuntimeError; of a file cut off at a border of
        # its blocks it reads empty records, which Pillow refuses.
        try:
            yield
        except (RuntimeError, PIL.UnidentifiedImageError) as error:
            raise prepared.DamagedError(self._data_dir, f"record {index}: {error}") from error


def open_source(builder: tfds.core.DatasetBuilder, split: str) -> Source:
    """Opens one split of a prepared data set for random access.

    Args:
        builder: a builder with a feature `image`, prepared in the array_record format.
        split: "train" or "test".

    Raises:
        ValueError: the data set has no such split.
        prepared.DamagedError: a file of it is missing or cut off.
    """
    prepared.check(builder)
    if split not in builder.info.splits:
        raise ValueError(
            f"data set {builder.name!r} has no split {split!r}; "
            f"choose one of {', '.join(sorted(builder.info.splits))}"
        )
    source = Source(builder, split)
    # The last record of each file: a file that is cut off cannot be read at all.
    for end in itertools.accumulate(builder.info.splits[split].shard_lengths):
        source[end - 1]
    return source


def _reopen(data_dir: str, split: str) -> Source:
    return open_source(tfds.builder_from_directory(data_dir), split)


def _decode(encoded: bytes) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(encoded)) as image:
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]


def _fingerprint(builder: tfds.core.DatasetBuilder, split: str) -> str:
    """Hashes what the pictures are: their content if known, else how they were made."""
    content = (builder.info.metadata or {}).get("content", {}).get(split)
    size = builder.info.features["image"].shape[0]
    made_from = f"{builder.name}/{builder.version}/{size}/{content}"
    text = f"{made_from if content else builder.info.full_name}/{split}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def train_batches(
    source: Records,
    *,
    seed: int,
    batch_size: int,
    start: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    num_workers: int = 0,
    prefetch: int = 2,
) -> grain.DatasetIterator:
    """Iterates without end over this host's slices of the global training batches.

    Host p of P gets elements [p B/P, (p+1) B/P) of each global batch of B.

    Args:
        source: the training split, or a part of it.
        seed: seed of the order, at least 0.
        batch_size: B, pictures in a global batch.
        start: global number of the first sample, as kept in the checkpoint.
        process_index: p, this host.
        process_count: P, number of hosts.
        num_workers: reading processes; 0 reads in threads of this process.
        prefetch: batches kept ready, and threads that decode them, in each process.

    Returns:
        An iterator over {`image` uint8 [B/P, S, S, 3], `index` int64 [B/P], and `sketch`
        uint8 [B/P, S, S, 1] where there is one}. Its `close()` ends threads and workers.

    Raises:
        ValueError: the split is smaller than a batch, the batch does not divide among
          the hosts, or an argument is out of range.
    """
    if len(source) < batch_size:
        raise ValueError(
            f"split {source.split!r} has {len(source)} pictures, too few for one batch of "
            f"batch_size {batch_size}; add pictures or lower batch_size"
        )
    if seed < 0 or start < 0:
        raise ValueError(f"seed {seed} and start {start} must not be negative")
    # `seed` mixes the number, where a seed given to `shuffle` would make epoch 1 of seed 0
    # equal epoch 0 of seed 1. Without end, `repeat` reshuffles at each epoch.
    samples = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    slices = _host_slices(samples[start:], batch_size, process_index, process_count)
    return _read(slices, num_workers, prefetch)


def eval_batches(
    source: Records,
    *,
    batch_size: int,
    max_images: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    num_workers: int = 0,
    prefetch: int = 2,
) -> grain.DatasetIterator:
    """Iterates once over all records in order; the last batch is padded.

    Args:
        source: the split to evaluate.
        batch_size: pictures in a global batch.
        max_images: read only the first so many records; 0: all.
        process_index: this host.
        process_count: number of hosts.
        num_workers: reading processes; 0 reads in threads of this process.
        prefetch: batches kept ready, and threads that decode them, in each process.

    Returns:
        An iterator over what `train_batches` yields and `mask` bool [B/P], False where a
        record is padding (a repetition of the last one).

    Raises:
        ValueError: the batch does not divide among the hosts, or an argument is out of
          range.
    """
    if max_images < 0:
        raise ValueError(f"max_images is {max_images} but must not be negative (0: all)")
    num_images = min(max_images or len(source), len(source))

    def padded_record(position: int) -> dict[str, np.ndarray]:
        record = source[min(position, num_images - 1)]
        return {**record, "mask": np.asarray(position < num_images)}

    num_padded = -(-num_images // max(batch_size, 1)) * batch_size
    samples = grain.MapDataset.range(num_padded).map(padded_record)
    slices = _host_slices(samples, batch_size, process_index, process_count)
    return _read(slices, num_workers, prefetch)


def _host_slices(
    samples: grain.MapDataset, batch_size: int, process_index: int, process_count: int
) -> grain.MapDataset:
    """Returns this host's slice of each global batch.

    Batches of B/P samples, dealt to the P hosts in turn, are exactly the slices.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size} but must be at least 1")
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index {process_index} is not in [0, {process_count})")
    if batch_size % process_count:
        raise ValueError(
            f"batch_size {batch_size} does not divide among {process_count} hosts; "
            f"make it a multiple of {process_count}"
        )
    local_batches = samples.batch(batch_size // process_count, drop_remainder=True)
    return local_batches[process_index::process_count]


def _read(batches: grain.MapDataset, num_workers: int, prefetch: int) -> grain.DatasetIterator:
    """Reads ahead in threads, and in processes where `num_workers` asks for them."""
    if num_workers < 0 or prefetch < 1:
        raise ValueError(
            f"num_workers is {num_workers} and prefetch {prefetch}; they must be at least 0 and 1"
        )
    options = grain.ReadOptions(num_threads=prefetch, prefetch_buffer_size=prefetch)
    dataset = batches.to_iter_dataset(options)
    if num_workers:
        if not flags.FLAGS.is_parsed():
            # Grain reads absl flags, which only programs started by `app.run` have parsed.
            flags.FLAGS.mark_as_parsed()
        workers = grain.MultiprocessingOptions(num_workers, per_worker_buffer_size=1)
        # Copied out of shared memory, which must be given back before the program ends.
        dataset = dataset.mp_prefetch(workers).map(lambda batch: jax.tree.map(np.array, batch))
    return iter(dataset)


def to_device(
    batches: Iterator[Batch], sharding: jax.sharding.Sharding, depth: int = 2
) -> Iterator[dict[str, jax.Array]]:
    """Copies batches to the devices ahead of their use.

    Args:
        batches: this host's slices of the global batches.
        sharding: of the global batch, over its first axis.
        depth: batches on the devices beside the one in use. Copying runs in the
          background, so two hide it.

    Yields:
        The global batches, each array spread over the devices of all hosts.
    """
    if depth < 1:
        raise ValueError(f"depth is {depth} but must be at least 1")
    queue: collections.deque[dict[str, Any]] = collections.deque()
    for batch in batches:
        queue.append(
            {
                name: jax.make_array_from_process_local_data(sharding, array)
                for name, array in batch.items()
            }
        )
        if len(queue) > depth:
            yield queue.popleft()
    yield from queue
