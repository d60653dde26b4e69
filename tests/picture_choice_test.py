"""Which pictures are used: sound ones, once each, in train or in test."""

import jax
import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.data import picture_choice, picture_folder
from ssimbad_jax.data import sketch as sketch_lib
from tests import random_pictures

_SIZE = random_pictures.SIZE


def _face():
    """A picture with a dark line."""
    pixels = random_pictures.pixels(0) // 4 + 128
    pixels[4] = 20
    return pixels


def _sketch(background=255, line=0):
    """Its sketch."""
    pixels = np.full((_SIZE, _SIZE), background, np.uint8)
    pixels[4] = line
    return pixels


def _entry(folder, picture, sketch=None, name="a.png"):
    """Writes a picture, and a sketch where one is given."""
    random_pictures.save(folder / "reference" / name, picture)
    if sketch is not None:
        random_pictures.save(folder / "sketch" / name, sketch)
    return picture_folder.Entry(
        name, folder / "reference" / name, None if sketch is None else folder / "sketch" / name
    )


def _choose(*entries, size=_SIZE, test_share=1e-9):
    kept, report = picture_choice.choose(entries, size=size, test_share=test_share)
    return kept["train"], report


def _reason(*arguments, **options):
    kept, report = _choose(_entry(*arguments), **options)
    assert kept == [] and report["found"] == 1
    (left_out,) = report["left_out"]
    assert left_out["name"] == "a.png"
    return left_out["reason"]


@pytest.mark.parametrize("share", [1 / 16, 0.5])
def test_the_share_of_the_test_split(tmp_path, share):
    entries = [
        _entry(tmp_path, random_pictures.pixels(number, 4, 4), name=f"{number}.png")
        for number in range(400)
    ]
    kept, _ = picture_choice.choose(entries, size=4, test_share=share)
    deviation = np.sqrt(400 * share * (1 - share))
    assert abs(len(kept["test"]) - 400 * share) < 4 * deviation
    assert len(kept["test"]) + len(kept["train"]) == 400


@pytest.mark.parametrize(("height", "width"), [(15, 16), (64, 15), (1, 1)])
def test_small_pictures_are_left_out(tmp_path, height, width):
    reason = _reason(tmp_path, random_pictures.pixels(0, height, width), size=64)
    assert reason == (
        f"{width} x {height} pixels, too small: to be stored at 64 (data.condition_size) both "
        "sides need 16"
    )
    kept, _ = _choose(_entry(tmp_path, random_pictures.pixels(0, 16, 40)), size=64)
    assert len(kept) == 1


def test_blank_pictures_and_sketches_are_left_out(tmp_path):
    blank = np.full((_SIZE, _SIZE, 3), 200, np.uint8)
    assert _reason(tmp_path, blank) == "blank: all pixels have one colour"
    speck = blank.copy()
    speck[3, 3] = 199
    assert len(_choose(_entry(tmp_path, speck))[0]) == 1
    reason = _reason(tmp_path, random_pictures.pixels(0), blank[..., 0])
    assert reason == "its sketch: blank: all pixels have one colour"


def test_a_bad_sketch_is_a_reason(tmp_path):
    entry = _entry(tmp_path, random_pictures.pixels(0), _sketch())
    entry.sketch.write_bytes(b"")
    assert _choose(entry)[1]["left_out"][0]["reason"] == "its sketch: empty (0 bytes)"
    entry.sketch.unlink()
    assert "its sketch: cannot be opened" in _choose(entry)[1]["left_out"][0]["reason"]


def test_white_on_black_is_inverted_and_reported(tmp_path):
    inverted = _entry(tmp_path, _face(), _sketch(background=0, line=255))
    kept, report = _choose(inverted)
    assert [chosen.invert_sketch for chosen in kept] == [True]
    assert report["sketches_inverted"] == ["a.png"]


def test_sketches_of_dark_pictures_are_not_inverted(tmp_path):
    # More than half of the sketch is black, as where XDoG fills dark hair.
    picture, sketch = _face(), _sketch()
    picture[5:], sketch[5:] = picture[5:] // 8, 0
    kept, report = _choose(_entry(tmp_path, picture, sketch))
    assert [chosen.invert_sketch for chosen in kept] == [False]
    assert report["sketches_inverted"] == []
    flat = _entry(tmp_path, _face(), _sketch(line=254))
    assert _choose(flat)[1]["sketches_inverted"] == []


def test_real_sketches_are_told_from_inverted_ones(shared, tmp_path):
    paths = sorted((shared / "data" / "anime_faces" / "test").iterdir())[:8]
    pictures = np.stack([np.asarray(PIL.Image.open(path).resize((128, 128))) for path in paths])
    drawn = jax.jit(sketch_lib.xdog)(pictures.astype(np.float32) / 127.5 - 1, np.full(8, 0.4))
    lines = np.asarray((drawn[..., 0] + 1) * 127.5).astype(np.uint8)
    lines[1::2] = 255 - lines[1::2]
    kept, _ = _choose(
        *(
            _entry(tmp_path, picture, sketch, name=f"{number}.png")
            for number, (picture, sketch) in enumerate(zip(pictures, lines, strict=True))
        ),
        size=128,
    )
    assert [chosen.invert_sketch for chosen in kept] == [False, True] * 4


def test_a_coloured_sketch_and_lines_on_nothing_are_sketches(tmp_path):
    coloured = np.full((_SIZE, _SIZE, 3), 255, np.uint8)
    coloured[4] = (200, 0, 0)
    see_through = np.zeros((_SIZE, _SIZE, 4), np.uint8)
    see_through[4, :, 3] = 255
    for sketch in (coloured, see_through):
        kept, report = _choose(_entry(tmp_path, _face(), sketch))
        assert len(kept) == 1 and report["sketches_inverted"] == []


def test_the_content_is_that_of_picture_and_sketch(tmp_path):
    picture = random_pictures.pixels(0)

    def content(*pictures):
        ((chosen,), _) = _choose(_entry(tmp_path, *pictures))
        return chosen.content

    contents = [
        content(picture),
        content(picture, _sketch()),
        content(picture, _sketch(line=1)),
        content(random_pictures.pixels(1), _sketch()),
    ]
    assert len(set(contents)) == 4
    assert content(picture, _sketch()) == contents[1]


@pytest.mark.parametrize("change", ["picture", "sketch", "gone"])
def test_files_that_change_after_the_check_are_refused(tmp_path, change):
    entry = _entry(tmp_path, random_pictures.pixels(0), _sketch())
    ((chosen,), _) = _choose(entry)
    assert chosen.read() == (entry.picture.read_bytes(), entry.sketch.read_bytes())
    if change == "picture":
        random_pictures.save(entry.picture, random_pictures.pixels(1))
    elif change == "sketch":
        random_pictures.save(entry.sketch, _sketch(line=1))
    else:
        entry.picture.unlink()
    with pytest.raises(ValueError, match=r"'a\.png' changed while .* run the same command again"):
        chosen.read()


def test_metadata_that_pillow_warns_of_is_no_reason(tmp_path):
    broken = b"MM\0*\xff\xff\xff\xff"
    path = tmp_path / "a.png"
    PIL.Image.fromarray(random_pictures.pixels(0)).save(path, exif=broken)
    kept, report = _choose(picture_folder.Entry("a.png", path))
    assert len(kept) == 1 and report["left_out"] == []


def _report(left_out, found=200, train=1, test=1):
    return {
        "found": found,
        "left_out": [{"name": f"{n}.png", "reason": "empty"} for n in range(left_out)],
        "kept": {"train": train, "test": test},
    }


def test_too_many_bad_files_are_refused_with_the_field_to_raise(tmp_path):
    told_in = tmp_path / "report.json"
    picture_choice.refuse(_report(2), 0.01, told_in)
    picture_choice.refuse(_report(200), 1.0, told_in)
    picture_choice.refuse(_report(0), 0.0, told_in)
    with pytest.raises(ValueError) as refusal:
        picture_choice.refuse(_report(3), 0.01, told_in)
    message = str(refusal.value)
    assert message.startswith("3 of 200 pictures are unusable, more than data.max_bad_fraction = ")
    assert "0.01 allows: 0.png (empty), 1.png (empty), 2.png (empty)" in message
    assert f"raise data.max_bad_fraction (all are in {told_in})" in message
    assert "\n" not in message
    with pytest.raises(ValueError, match="give 3 for train and 0 for test"):
        picture_choice.refuse(_report(0, train=3, test=0), 0.01, told_in)
