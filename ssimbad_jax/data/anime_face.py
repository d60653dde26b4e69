"""Anime faces from a directory of pictures, as a TFDS data set without TensorFlow.

`picture_folder` says what the directory may look like, `picture_choice` which pictures are
used. Where the directory gives no splits, a picture's split follows from the hash of its own
content, so that adding files moves no picture and copies stay together.

Stored are RGB pictures (and grey sketches, dark on light) of one size. A JPEG or PNG that is one
already keeps its bytes: exact, and the cheapest to decode. Others become PNG: lossless,
1.4 ms to decode at 256 px against 0.4 for lossy JPEG, 0.6 for twice the space.
"""

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from ssimbad_jax import wording
from ssimbad_jax.data import picture_choice, picture_file, picture_folder, prepared

REPORT = "data_report.json"  # what was found, kept and left out, beside the data


@dataclasses.dataclass(eq=False)
class AnimeFaceConfig(tfds.core.BuilderConfig):
    """What the prepared data is made from; see `prepare`."""

    directory: pathlib.Path = pathlib.Path()
    size: int = 256
    test_share: float = 1 / 16
    max_bad_fraction: float = 0.01
    entries: Sequence[picture_folder.Entry] = dataclasses.field(default=(), repr=False)


class AnimeFace(tfds.core.GeneratorBasedBuilder):
    """TFDS builder over a directory of pictures; made by `prepare`.

    Features: `image` (RGB), `name` (path of the source file) and, in the paper's
    layout, `sketch` (grey). Records are in the order of their names.
    """

    VERSION = tfds.core.Version("1.1.0")
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
        kept, report = picture_choice.choose(
            source.entries, size=source.size, test_share=source.test_share
        )
        # A temporary directory until all is written: the report appears with the data. That of
        # refused data is left one level above.
        folder = pathlib.Path(self.data_dir)
        refused = folder.parent / REPORT
        text = json.dumps({**_made_from(source), **report}, indent=1)
        refused.write_text(text)
        picture_choice.refuse(report, source.max_bad_fraction, refused)
        refused.rename(folder / REPORT)
        self.info.metadata["content"] = {
            split: _hash("".join(chosen.content for chosen in pictures))
            for split, pictures in kept.items()
        }
        return {split: self._generate_examples(pictures) for split, pictures in kept.items()}

    def _generate_examples(
        self, pictures: Sequence[picture_choice.Chosen]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        size = self.builder_config.size

        def encode(chosen: picture_choice.Chosen) -> dict[str, bytes]:
            picture, *sketch = chosen.read()
            encoded = {"image": picture_file.encode_picture(picture, size, "RGB")}
            if sketch:
                encoded["sketch"] = picture_file.encode_picture(
                    sketch[0], size, "L", invert=chosen.invert_sketch
                )
            return encoded

        examples = picture_choice.parallel_map(encode, pictures, "storing pictures")
        for number, (chosen, encoded) in enumerate(examples):
            yield number, {"name": chosen.entry.name, **encoded}


def prepare(
    directory: pathlib.Path,
    data_dir: pathlib.Path,
    *,
    size: int,
    test_share: float = 1 / 16,
    max_bad_fraction: float = 0.01,
) -> AnimeFace:
    """Returns the builder over a directory, its data made ready if it is not yet.

    Prepared data is found again by the names, sizes and modification times of the
    files: a changed directory is another data set. Beside it `data_report.json` tells what
    was found, kept and left out. Of processes that share `data_dir` one prepares.

    Args:
        directory: a tree of pictures or the paper's layout.
        data_dir: where prepared data is kept.
        size: height and width of the stored pictures, in pixels.
        test_share: share that goes to test where the directory gives no splits.
        max_bad_fraction: share of unusable files above which the directory is refused.

    Raises:
        FileNotFoundError: the directory does not exist.
        ValueError: it holds no usable data set, changed meanwhile, an argument is out of range,
          or the prepared data is damaged.
        OSError: `data_dir` cannot be written.
    """
    if size < 1 or not 0 < test_share < 1:
        raise ValueError(f"size {size} must be at least 1, test_share {test_share} in (0, 1)")
    if not 0 <= max_bad_fraction <= 1:
        raise ValueError(f"max_bad_fraction {max_bad_fraction} must be in [0, 1]")
    entries = picture_folder.find_pictures(directory)
    name = f"{size}px_{_source_key(entries, test_share)}"
    source = AnimeFaceConfig(
        name,
        directory=directory,
        size=size,
        test_share=test_share,
        max_bad_fraction=max_bad_fraction,
        entries=entries,
    )
    folder = prepared.folder_of(AnimeFace, source, data_dir)
    is_new = not folder.exists()
    message = f"Preparing {len(entries)} pictures of {directory} at {size} px ..."
    if is_new and (older := _prepared_before(source, data_dir)):
        message = f"{_say_changed(directory, older)}\n{message}"
    builder = prepared.make_ready(AnimeFace, source, data_dir, message=message)
    if "content" not in (builder.info.metadata or {}):
        raise prepared.DamagedError(folder, "metadata.json missing")
    # Asked again of data prepared by an earlier call, which may have allowed more.
    picture_choice.refuse(_read_report(folder), max_bad_fraction, folder / REPORT)
    if is_new:
        counts = [f"{split.num_examples} {name}" for name, split in builder.info.splits.items()]
        print(f"Kept {' + '.join(counts)}; see {folder / REPORT}", flush=True)
    return builder


def _made_from(source: AnimeFaceConfig) -> dict[str, Any]:
    """Returns what the data sets of a directory's states have in common."""
    return {
        "directory": os.fsencode(source.directory.absolute()).decode("utf-8", "backslashreplace"),
        "size": source.size,
        "test_share": source.test_share,
    }


def _read_report(folder: pathlib.Path) -> dict[str, Any]:
    try:
        return json.loads((folder / REPORT).read_text())
    except (OSError, ValueError) as error:
        raise prepared.DamagedError(folder, f"{REPORT}: {error}") from error


def _prepared_before(source: AnimeFaceConfig, data_dir: pathlib.Path) -> list[pathlib.Path]:
    """Returns the prepared data of the same directory in other states, newest first."""
    found = []
    for path in data_dir.glob(f"{AnimeFace.name}/{source.size}px_*/{AnimeFace.VERSION}/{REPORT}"):
        try:
            report = _read_report(path.parent)
        except prepared.DamagedError:
            continue
        if _made_from(source).items() <= report.items():
            found.append(path)
    return [path.parent for path in sorted(found, key=os.path.getmtime, reverse=True)]


def _say_changed(directory: pathlib.Path, older: Sequence[pathlib.Path]) -> str:
    when = datetime.datetime.fromtimestamp((older[0] / REPORT).stat().st_mtime)
    names = wording.list_some([str(path.parent) for path in older], limit=3)
    return (
        f"{directory} changed since {when:%Y-%m-%d %H:%M}, when it was prepared before; older data "
        f"is kept for the runs made with it and may be deleted: {names}"
    )


def _source_key(entries: Sequence[picture_folder.Entry], test_share: float) -> str:
    """Returns a short hash that changes with the directory's files and the split."""
    lines = [f"{test_share!r}"]
    for entry in entries:
        for path in filter(None, (entry.picture, entry.sketch)):
            try:
                status = path.stat()
            except OSError as error:  # a broken link; reading will tell
                lines.append(f"{entry.name}\0{error.errno}")
            else:
                lines.append(f"{entry.name}\0{path.suffix}\0{status.st_size}\0{status.st_mtime_ns}")
    return _hash("\n".join(lines))[:16]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
