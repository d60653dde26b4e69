"""Anime faces from a directory of pictures, as a TFDS data set without TensorFlow.

`picture_folder` says what the directory may look like. Where it gives no splits, a picture's
split follows from the hash of its own content, so that adding files moves no picture and copies
stay together.

Stored are RGB pictures (and grey sketches) of one size. A JPEG or PNG that is one
already keeps its bytes: exact, and the cheapest to decode. Others become PNG: lossless,
1.4 ms to decode at 256 px against 0.4 for lossy JPEG, 0.6 for twice the space.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import grain
import tensorflow_datasets as tfds
import tqdm

from ssimbad_jax.data import picture_file, picture_folder, tfds_output

MAX_LEFT_OUT = 0.01  # share of unusable files above which a data set is refused


def choose_pictures(
    entries: Sequence[picture_folder.Entry], *, test_share: float
) -> tuple[dict[str, dict[str, picture_folder.Entry]], dict[str, Any]]:
    """Decodes every picture once, leaves out unusable ones and copies, and splits.

    Two pictures are copies if their decoded pixels are equal, whatever their names and
    formats. Of copies the first by name is kept; of copies on both sides of given
    splits the one in test, so that nothing trained on is tested on. Where no splits are
    given, `test_share` of the pictures go to test. Returns the entries kept in each
    split, by the hash of their pixels, and the report.

    Raises:
        ValueError: more than 1% of the files are unusable, or a split stays empty.
    """
    kept: dict[str, dict[str, picture_folder.Entry]] = {
        split: {} for split in picture_folder.SPLITS
    }
    left_out = []
    for entry, (digest, fault) in _parallel_map(_digest, entries, "checking pictures"):
        if fault:
            left_out.append({"name": entry.name, "reason": fault})
            continue
        split = entry.split or ("test" if int(digest[:16], 16) < test_share * 2**64 else "train")
        kept[split].setdefault(digest, entry)
    copies = len(entries) - len(left_out) - sum(map(len, kept.values()))
    on_both_sides = kept["train"].keys() & kept["test"].keys()
    for digest in on_both_sides:
        del kept["train"][digest]

    if len(left_out) > MAX_LEFT_OUT * len(entries):
        reasons = picture_folder.list_some(
            [f"{item['name']} ({item['reason']})" for item in left_out]
        )
        raise ValueError(
            f"{len(left_out)} of {len(entries)} pictures are unusable, more than "
            f"{MAX_LEFT_OUT:.0%}: {reasons}; repair or remove them"
        )
    counts = {split: len(pictures) for split, pictures in kept.items()}
    if 0 in counts.values():
        raise ValueError(
            f"{len(entries)} pictures, copies among them, give {counts['train']} for train and "
            f"{counts['test']} for test; add pictures or sort them into train/ and test/ folders"
        )
    return kept, {
        "found": len(entries),
        "kept": counts,
        "copies_within_a_split": copies,
        "train_pictures_also_in_test": len(on_both_sides),
        "left_out": left_out,
    }


def _digest(entry: picture_folder.Entry) -> tuple[str, str]:
    """Returns the hash of an entry's pixels, or else what is wrong with it."""
    try:
        picture = picture_file.read_rgb(entry.picture)
        sketch = picture_file.read_rgb(entry.sketch) if entry.sketch else picture
    except Exception as error:
        return "", f"{type(error).__name__}: {error}"
    # A pixel of slack: the same picture rounded to another size.
    if abs(picture.width * sketch.height - picture.height * sketch.width) > max(picture.size):
        return "", f"its sketch has another shape: {sketch.size}, not {picture.size}"
    return hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest(), ""


def _parallel_map(
    function: Callable[[picture_folder.Entry], Any],
    entries: Sequence[picture_folder.Entry],
    description: str,
) -> Iterable[tuple[picture_folder.Entry, Any]]:
    """Maps in order over threads, with a bounded number of results in memory."""
    threads = os.cpu_count() or 1
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
    results = grain.MapDataset.source(entries).map(function).to_iter_dataset(options)
    return zip(tqdm.tqdm(entries, description, unit=" files", disable=None), results, strict=True)


@dataclasses.dataclass(eq=False)
class AnimeFaceConfig(tfds.core.BuilderConfig):
    """What the prepared data is made from; see `prepare`."""

    directory: pathlib.Path = pathlib.Path()
    size: int = 256
    test_share: float = 1 / 16
    entries: Sequence[picture_folder.Entry] = dataclasses.field(default=(), repr=False)


class AnimeFace(tfds.core.GeneratorBasedBuilder):
    """TFDS builder over a directory of pictures; made by `prepare`.

    Features: `image` (RGB), `name` (path of the source file) and, in the paper's
    layout, `sketch` (grey). Records are in the order of their names.
    """

    VERSION = tfds.core.Version("1.0.0")
    builder_config: AnimeFaceConfig

    def _info(self) -> tfds.core.DatasetInfo:
        size = self.builder_config.size
        image = tfds.features.Image
        features = {"image": image(shape=(size, size, 3)), "name": tfds.features.Text()}
        if any(entry.sketch for entry in self.builder_config.entries):
            features["sketch"] = image(shape=(size, size, 1))
        return tfds.core.DatasetInfo(
            builder=self,
            description="Anime faces from a directory of pictures.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Any]:
        source = self.builder_config
        kept, report = choose_pictures(source.entries, test_share=source.test_share)
        report = {"directory": str(source.directory), "size": source.size, **report}
        # A temporary directory until all is written: the report appears with the data.
        (pathlib.Path(self.data_dir) / "data_report.json").write_text(json.dumps(report, indent=1))
        self.info.metadata["content"] = {
            split: _hash("".join(kept[split])) for split in picture_folder.SPLITS
        }
        return {
            split: self._generate_examples([*kept[split].values()])
            for split in picture_folder.SPLITS
        }

    def _generate_examples(
        self, entries: Sequence[picture_folder.Entry]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        size = self.builder_config.size

        def encode(entry: picture_folder.Entry) -> dict[str, Any]:
            pictures = {"image": picture_file.encode_picture(entry.picture, size, "RGB")}
            if entry.sketch:
                pictures["sketch"] = picture_file.encode_picture(entry.sketch, size, "L")
            return pictures

        examples = _parallel_map(encode, entries, "storing pictures")
        for number, (entry, pictures) in enumerate(examples):
            yield number, {"name": entry.name, **pictures}


def prepare(
    directory: pathlib.Path, data_dir: pathlib.Path, *, size: int, test_share: float = 1 / 16
) -> AnimeFace:
    """Returns the builder over a directory, its data made ready if it is not yet.

    Prepared data is found again by the names, sizes and modification times of the
    files: a changed directory is another data set. Beside it `data_report.json` tells what
    was found, kept and left out. Of processes that share `data_dir` the fastest wins.

    Args:
        directory: a tree of pictures or the paper's layout.
        data_dir: where prepared data is kept.
        size: height and width of the stored pictures, in pixels.
        test_share: share that goes to test where the directory gives no splits.

    Raises:
        FileNotFoundError: the directory does not exist.
        ValueError: it holds no usable data set, or an argument is out of range.
    """
    if size < 1 or not 0 < test_share < 1:
        raise ValueError(f"size {size} must be at least 1, test_share {test_share} in (0, 1)")
    entries = picture_folder.find_pictures(directory)
    name = f"{size}px_{_source_key(entries, test_share)}"
    source = AnimeFaceConfig(
        name, directory=directory, size=size, test_share=test_share, entries=entries
    )
    with tfds_output.quiet():
        builder = AnimeFace(config=source, data_dir=data_dir, file_format="array_record")
    if builder.data_path.exists():
        return builder
    print(f"Preparing {len(entries)} pictures of {directory} at {size} px ...", flush=True)
    with tfds_output.quiet():
        try:
            builder.download_and_prepare()
        except OSError:
            if not builder.data_path.exists():
                raise
            # Another process was faster: TFDS cannot rename onto its finished data.
            builder = AnimeFace(config=source, data_dir=data_dir, file_format="array_record")
    counts = [f"{split.num_examples} {name}" for name, split in builder.info.splits.items()]
    print(f"Kept {' + '.join(counts)}; see {builder.data_path / 'data_report.json'}", flush=True)
    return builder


def _source_key(entries: Sequence[picture_folder.Entry], test_share: float) -> str:
    """Returns a short hash that changes with the directory's files and the split."""
    lines = [f"{test_share!r}"]
    for entry in entries:
        for path in filter(None, (entry.picture, entry.sketch)):
            status = path.stat()
            lines.append(f"{entry.name}\0{path.suffix}\0{status.st_size}\0{status.st_mtime_ns}")
    return _hash("\n".join(lines))[:16]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
