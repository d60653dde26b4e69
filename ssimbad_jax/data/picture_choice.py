"""Which pictures of a folder are used: sound ones, each once, in train or in test."""

import hashlib
import math
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import grain
import numpy as np
import PIL.Image
import PIL.ImageFilter

from ssimbad_jax import wording
from ssimbad_jax.data import counting, picture_file, picture_folder

# Of the stored size, what a picture's short side must have at least: enlarged more than four
# times it shows the filter's blur, and its sketch the lines of the blur.
MIN_SHARE = 1 / 4
_COMPARED_SIZE = 128  # pixels at which a sketch is compared with its picture


_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Chosen(NamedTuple):
    """A picture to store.

    Attributes:
        entry: its files.
        content: hash of its pixels and its sketch's.
        bytes_hash: hash of the files themselves, as they were when they were checked.
        invert_sketch: whether the sketch is light lines on dark.
    """

    entry: picture_folder.Entry
    content: str
    bytes_hash: str
    invert_sketch: bool

    def read(self) -> tuple[bytes, ...]:
        """Returns what is in the files, picture first: the very bytes that were checked.

        Raises:
            ValueError: a file changed or vanished since.
        """
        try:
            files = _read_files(self.entry)
        except picture_file.BadPictureError:
            files = ()
        if _hash_bytes(files) != self.bytes_hash:
            raise ValueError(
                f"{self.entry.name!r} changed while the pictures were prepared; leave the folder "
                "alone and run the same command again"
            )
        return files


def choose(
    entries: Sequence[picture_folder.Entry], *, size: int, test_share: float
) -> tuple[dict[str, list[Chosen]], dict[str, Any]]:
    """Decodes every picture once, leaves out unusable ones and copies, and splits.

    Two pictures are copies if their decoded pixels are equal, whatever their names and
    formats. Of copies the first by name is kept; of copies on both sides of given
    splits the one in test, so that nothing trained on is tested on. Where no splits are
    given, `test_share` of the pictures go to test, by the hash of the pixels.

    Args:
        entries: of `picture_folder.find_pictures`.
        size: height and width to be stored, in pixels.
        test_share: in (0, 1).

    Returns:
        The pictures of "train" and "test", and the report: what was found, kept and left
        out for what reason.
    """
    kept: dict[str, dict[str, Chosen]] = {split: {} for split in picture_folder.SPLITS}
    left_out = []
    for entry, (pixels, chosen, fault) in parallel_map(
        lambda entry: _examine(entry, size), entries, "checking pictures"
    ):
        if chosen is None:
            left_out.append({"name": entry.name, "reason": fault})
            continue
        split = entry.split or ("test" if int(pixels[:16], 16) < test_share * 2**64 else "train")
        kept[split].setdefault(pixels, chosen)
    copies = len(entries) - len(left_out) - sum(map(len, kept.values()))
    on_both_sides = kept["train"].keys() & kept["test"].keys()
    for pixels in on_both_sides:
        del kept["train"][pixels]
    splits = {split: [*pictures.values()] for split, pictures in kept.items()}
    return splits, {
        "found": len(entries),
        "kept": {split: len(pictures) for split, pictures in splits.items()},
        "copies_within_a_split": copies,
        "train_pictures_also_in_test": len(on_both_sides),
        "sketches_inverted": [
            chosen.entry.name
            for pictures in splits.values()
            for chosen in pictures
            if chosen.invert_sketch
        ],
        "left_out": left_out,
    }


def refuse(report: dict[str, Any], max_bad_fraction: float, told_in: pathlib.Path) -> None:
    """Refuses a data set of which too little is left.

    Args:
        report: of `choose`.
        max_bad_fraction: of all files found, the share that may be left out.
        told_in: the file that holds the report.

    Raises:
        ValueError: more files are unusable, or a split stays empty.
    """
    found, left_out, kept = report["found"], report["left_out"], report["kept"]
    if len(left_out) > max_bad_fraction * found:
        reasons = wording.list_some([f"{item['name']} ({item['reason']})" for item in left_out])
        raise ValueError(
            f"{len(left_out)} of {found} pictures are unusable, more than data.max_bad_fraction = "
            f"{max_bad_fraction:g} allows: {reasons}; repair or remove them, or raise "
            f"data.max_bad_fraction (all are in {told_in})"
        )
    if 0 in kept.values():
        raise ValueError(
            f"{found} pictures, copies among them, give {kept['train']} for train and "
            f"{kept['test']} for test; add pictures or sort them into train/ and test/ folders"
        )


def _examine(entry: picture_folder.Entry, size: int) -> tuple[str, Chosen | None, str]:
    """Returns the hash of a picture's pixels and the picture, or else what is wrong with it."""
    try:
        files = _read_files(entry)
        picture = _sound(files[0], size)
        pixels = content = _hash_pixels(picture)
        invert = False
        if entry.sketch:
            sketch = _sound_sketch(files[1], size, picture.size)
            content = hashlib.sha256(f"{pixels}{_hash_pixels(sketch)}".encode()).hexdigest()
            invert = _is_white_on_black(sketch, picture, size)
    except picture_file.BadPictureError as error:
        return "", None, str(error)
    return pixels, Chosen(entry, content, _hash_bytes(files), invert), ""


def _read_files(entry: picture_folder.Entry) -> tuple[bytes, ...]:
    picture = picture_file.read_bytes(entry.picture)
    if not entry.sketch:
        return (picture,)
    try:
        return picture, picture_file.read_bytes(entry.sketch)
    except picture_file.BadPictureError as error:
        raise picture_file.BadPictureError(f"its sketch: {error}") from error


def _sound(data: bytes, size: int) -> PIL.Image.Image:
    """Reads a picture that is large enough and shows something."""
    picture = picture_file.read_rgb(data)
    least = math.ceil(size * MIN_SHARE)
    if min(picture.size) < least:
        raise picture_file.BadPictureError(
            f"{picture.width} x {picture.height} pixels, too small: to be stored at {size} "
            f"(data.condition_size) both sides need {least}"
        )
    if picture.getcolors(maxcolors=1):  # None where there are more
        raise picture_file.BadPictureError("blank: all pixels have one colour")
    return picture


def _sound_sketch(data: bytes, size: int, picture_size: tuple[int, int]) -> PIL.Image.Image:
    try:
        sketch = _sound(data, size)
    except picture_file.BadPictureError as error:
        raise picture_file.BadPictureError(f"its sketch: {error}") from error
    (width, height), (wide, high) = sketch.size, picture_size
    # A pixel of slack: the same picture rounded to another size.
    if abs(wide * height - high * width) > max(picture_size):
        raise picture_file.BadPictureError(
            f"its sketch has another shape: {width} x {height} pixels, the picture {wide} x {high}"
        )
    return sketch


def _is_white_on_black(sketch: PIL.Image.Image, picture: PIL.Image.Image, size: int) -> bool:
    """Tells whether a sketch is light where its picture is darker than around.

    How dark the sketch is would not tell: XDoG fills dark hair, up to 0.6 of a face. The
    correlation is 0.24 to 0.87 on XDoG sketches of 2,600 faces, so below -0.24 on inverted ones.
    """
    small = (min(size, _COMPARED_SIZE),) * 2
    lines, colours = (
        image.convert("L").resize(small, PIL.Image.Resampling.BOX) for image in (sketch, picture)
    )
    around = colours.filter(PIL.ImageFilter.BoxBlur(small[0] / 32))
    darker = np.asarray(colours, np.float32) - np.asarray(around, np.float32)
    x, y = (values - values.mean() for values in (np.asarray(lines, np.float32), darker))
    return bool((x * y).mean() < -0.1 * x.std() * y.std())


def _hash_pixels(picture: PIL.Image.Image) -> str:
    return hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()


def _hash_bytes(files: tuple[bytes, ...]) -> str:
    return "".join(hashlib.sha256(data).hexdigest() for data in files)


def parallel_map(
    function: Callable[[_Item], _Result], items: Sequence[_Item], description: str
) -> Iterator[tuple[_Item, _Result]]:
    """Maps in order over threads, with a bounded number of results in memory."""
    threads = os.cpu_count() or 1
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
    results = grain.MapDataset.source(items).map(function).to_iter_dataset(options)
    # Pillow's warnings of odd metadata name no file; what matters is in the report.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        both = zip(items, results, strict=True)
        yield from counting.counted(both, description, len(items), "files")
