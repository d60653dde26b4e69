"""The data set over a directory: layouts, splits, copies, identity."""

import json
import os
import pathlib
import re

import numpy as np
import pytest

from ssimbad_jax.data import anime_face, picture_choice, pipeline
from tests import bad_pictures, random_pictures

_SIZE = random_pictures.SIZE


def _fill(directory, numbers, suffix="png"):
    for number in numbers:
        random_pictures.save(directory / f"{number:04d}.{suffix}", random_pictures.pixels(number))


def _prepare(tmp_path, directory="pictures", size=_SIZE, **arguments):
    return anime_face.prepare(tmp_path / directory, tmp_path / "prepared", size=size, **arguments)


def _names(builder, split):
    source = pipeline.open_source(builder, split)
    return [source.name(index) for index in range(len(source))]


def _report(builder):
    return json.loads((builder.data_path / "data_report.json").read_text())


def test_given_splits_are_kept_and_records_are_in_order_of_names(tmp_path):
    _fill(tmp_path / "pictures" / "train" / "b", [3, 1, 2])
    _fill(tmp_path / "pictures" / "train" / "a", [9])
    _fill(tmp_path / "pictures" / "test", [4, 5])
    _fill(tmp_path / "pictures" / "elsewhere", [6])
    builder = _prepare(tmp_path)
    assert _names(builder, "train") == [
        "train/a/0009.png",
        "train/b/0001.png",
        "train/b/0002.png",
        "train/b/0003.png",
    ]
    assert _names(builder, "test") == ["test/0004.png", "test/0005.png"]
    source = pipeline.open_source(builder, "train")
    np.testing.assert_array_equal(source[1]["image"], random_pictures.pixels(1))
    assert not source.has_sketches
    assert source.size == _SIZE


def test_split_by_content_is_stable_when_files_are_added_or_renamed(tmp_path):
    _fill(tmp_path / "pictures", range(100))
    first = _prepare(tmp_path)
    before = {split: set(_names(first, split)) for split in ("train", "test")}
    _fill(tmp_path / "pictures" / "more", range(100, 200))
    second = _prepare(tmp_path)
    after = {split: set(_names(second, split)) for split in ("train", "test")}
    assert before["train"] < after["train"]
    assert before["test"] < after["test"]
    assert first.data_dir != second.data_dir

    for path in (tmp_path / "pictures").glob("*.png"):
        path.rename(path.with_name(f"renamed_{path.name}"))
    renamed = _prepare(tmp_path)
    assert set(_names(renamed, "test")) == {
        name if "/" in name else f"renamed_{name}" for name in after["test"]
    }


def test_copies_are_kept_once_whatever_their_name_and_format(tmp_path):
    _fill(tmp_path / "pictures", range(60))
    _fill(tmp_path / "pictures" / "copies", range(60), suffix="bmp")
    builder = _prepare(tmp_path)
    names = _names(builder, "train") + _names(builder, "test")
    assert sorted(names) == [f"{number:04d}.png" for number in range(60)]
    assert _report(builder)["copies_within_a_split"] == 60


def test_a_picture_on_both_sides_is_kept_in_test_only(tmp_path):
    _fill(tmp_path / "pictures" / "train", range(6))
    _fill(tmp_path / "pictures" / "test", [4, 5, 6], suffix="bmp")
    builder = _prepare(tmp_path)
    assert _names(builder, "train") == [f"train/{number:04d}.png" for number in range(4)]
    assert _names(builder, "test") == [f"test/{number:04d}.bmp" for number in (4, 5, 6)]
    report = _report(builder)
    assert report["train_pictures_also_in_test"] == 2
    assert report["kept"] == {"train": 4, "test": 3}
    assert report["found"] == 9


def _sketch(number, **size):
    """Dark where picture `number` is, on light paper."""
    return random_pictures.pixels(number, **size).mean(axis=-1).astype(np.uint8) // 2 + 128


def _fill_pairs(directory, numbers):
    for number in numbers:
        random_pictures.save(
            directory / "reference" / f"{number}.png", random_pictures.pixels(number)
        )
        random_pictures.save(directory / "sketch" / f"{number}.png", _sketch(number))


def test_layout_of_the_paper_gives_its_sketches(tmp_path):
    _fill_pairs(tmp_path / "pictures" / "train_data", range(5))
    _fill_pairs(tmp_path / "pictures" / "test_data", range(5, 8))
    builder = _prepare(tmp_path)
    source = pipeline.open_source(builder, "test")
    assert source.has_sketches
    assert len(pipeline.open_source(builder, "train")) == 5
    for index, number in enumerate(range(5, 8)):
        np.testing.assert_array_equal(source[index]["image"], random_pictures.pixels(number))
        np.testing.assert_array_equal(source[index]["sketch"], _sketch(number)[..., None])
        assert source.name(index) == f"test_data/reference/{number}.png"


def test_sketch_of_another_size_is_fitted_and_of_another_shape_is_left_out(tmp_path):
    top = tmp_path / "pictures"
    _fill_pairs(top / "train_data", range(250))
    _fill_pairs(top / "test_data", range(250, 253))
    random_pictures.save(top / "train_data" / "sketch" / "0.png", _sketch(0, height=32, width=32))
    random_pictures.save(top / "train_data" / "sketch" / "1.png", _sketch(0, height=32, width=16))
    builder = _prepare(tmp_path)
    source = pipeline.open_source(builder, "train")
    assert source[0]["sketch"].shape == (_SIZE, _SIZE, 1)
    assert len(source) == 249
    (left_out,) = _report(builder)["left_out"]
    assert left_out["name"] == "train_data/reference/1.png"
    assert "another shape: 16 x 32 pixels, the picture 16 x 16" in left_out["reason"]


def test_pictures_without_partner_are_named(tmp_path):
    _fill_pairs(tmp_path / "pictures" / "train_data", range(5))
    _fill_pairs(tmp_path / "pictures" / "test_data", range(5, 8))
    (tmp_path / "pictures" / "train_data" / "sketch" / "3.png").unlink()
    (tmp_path / "pictures" / "train_data" / "reference" / "4.png").unlink()
    with pytest.raises(
        ValueError, match=r"train_data.* 2 stand alone: reference/3\.png, sketch/4\.png"
    ):
        _prepare(tmp_path)


def test_a_missing_folder_of_the_paper_layout_is_named(tmp_path):
    _fill_pairs(tmp_path / "pictures" / "train_data", range(5))
    with pytest.raises(ValueError, match=r"test_data' does not exist; add"):
        _prepare(tmp_path)


def test_every_bad_file_is_left_out_with_its_reason(tmp_path):
    pictures = tmp_path / "pictures"
    _fill(pictures / "train", range(5))
    _fill(pictures / "test", range(5, 8))
    (pictures / "train" / "notes.txt").write_text("no picture")
    (pictures / "train" / ".hidden.png").write_text("no picture")
    for name, bad in bad_pictures.BAD_FILES.items():
        bad.make(pictures / "train" / name)
    builder = _prepare(tmp_path, max_bad_fraction=0.9)
    reasons = {item["name"]: item["reason"] for item in _report(builder)["left_out"]}
    assert reasons.keys() == {f"train/{name}" for name in bad_pictures.BAD_FILES}
    for name, bad in bad_pictures.BAD_FILES.items():
        assert re.search(bad.reason, reasons[f"train/{name}"])
    for split, count in (("train", 5), ("test", 3)):
        source = pipeline.open_source(builder, split)
        shapes = [source[index]["image"].shape for index in range(len(source))]
        assert shapes == [(_SIZE, _SIZE, 3)] * count


def test_too_many_bad_files_are_an_error_naming_the_field(tmp_path, capfd):
    pictures = tmp_path / "pictures"
    _fill(pictures, range(50))
    (pictures / "bad.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 of 51 .* data\.max_bad_fraction = 0\.01 allows") as no:
        _prepare(tmp_path)
    told_in = re.search(r"all are in (.*)\)", str(no.value))[1]
    assert json.loads(pathlib.Path(told_in).read_text())["left_out"] == [
        {"name": "bad.png", "reason": "empty (0 bytes)"}
    ]

    # Another limit asks nothing of the pictures that are prepared, but refuses or allows them.
    allowed = _prepare(tmp_path, max_bad_fraction=0.02)
    assert not pathlib.Path(told_in).exists()
    capfd.readouterr()
    with pytest.raises(ValueError, match=rf"1 of 51 .* {re.escape(str(allowed.data_dir))}"):
        _prepare(tmp_path)
    assert _prepare(tmp_path, max_bad_fraction=0.03).data_dir == allowed.data_dir
    assert capfd.readouterr() == ("", "")


def test_a_picture_that_changes_while_it_is_prepared_is_refused(tmp_path, monkeypatch):
    _fill(tmp_path / "pictures", range(60))
    choose = picture_choice.choose

    def choose_and_change(*arguments, **options):
        chosen = choose(*arguments, **options)
        random_pictures.save(tmp_path / "pictures" / "0007.png", random_pictures.pixels(99))
        return chosen

    with monkeypatch.context() as patch:
        patch.setattr(picture_choice, "choose", choose_and_change)
        with pytest.raises(ValueError, match=r"'0007\.png' changed while"):
            _prepare(tmp_path)
    assert len(_names(_prepare(tmp_path), "train")) > 40


def test_a_changed_folder_is_told_and_prepared_again(tmp_path, capfd):
    _fill(tmp_path / "pictures", range(60))
    first = _prepare(tmp_path)
    assert "changed since" not in capfd.readouterr().out
    _prepare(tmp_path, size=8)  # no other state of the folder, but another size
    assert "changed since" not in capfd.readouterr().out

    _fill(tmp_path / "pictures", [60])
    second = _prepare(tmp_path)
    said, *rest = capfd.readouterr().out.splitlines()
    assert re.fullmatch(
        rf"{tmp_path / 'pictures'} changed since 20\d\d-\d\d-\d\d \d\d:\d\d, when it was prepared "
        rf"before; older data .* may be deleted: {first.data_path.parent}",
        said,
    )
    assert len(rest) == 2
    sources = [pipeline.open_source(builder, "train") for builder in (first, second)]
    assert len({source.fingerprint for source in sources}) == 2


def test_white_on_black_sketches_are_stored_dark_on_light(tmp_path):
    top = tmp_path / "pictures"
    _fill_pairs(top / "train_data", range(5))
    _fill_pairs(top / "test_data", range(5, 8))
    random_pictures.save(top / "train_data" / "sketch" / "2.png", 255 - _sketch(2))
    builder = _prepare(tmp_path)
    stored = pipeline.open_source(builder, "train")[2]["sketch"]
    np.testing.assert_array_equal(stored, _sketch(2)[..., None])
    assert _report(builder)["sketches_inverted"] == ["train_data/reference/2.png"]


def test_a_changed_sketch_is_another_data_set(tmp_path):
    top = tmp_path / "pictures"
    _fill_pairs(top / "train_data", range(5))
    _fill_pairs(top / "test_data", range(5, 8))
    before = pipeline.open_source(_prepare(tmp_path), "train").fingerprint
    random_pictures.save(top / "train_data" / "sketch" / "2.png", _sketch(99))
    assert pipeline.open_source(_prepare(tmp_path), "train").fingerprint != before


def test_prepared_data_is_used_again_until_something_changes(tmp_path, capfd):
    _fill(tmp_path / "pictures", range(60))
    first = _prepare(tmp_path)
    said = capfd.readouterr()
    assert len(said.out.splitlines()) == 2
    assert "60 pictures" in said.out
    assert not said.err

    written = os.stat(first.data_dir).st_mtime_ns
    assert _prepare(tmp_path).data_dir == first.data_dir
    assert os.stat(first.data_dir).st_mtime_ns == written
    assert capfd.readouterr() == ("", "")

    assert _prepare(tmp_path, size=8).data_dir != first.data_dir
    assert _prepare(tmp_path, test_share=0.5).data_dir != first.data_dir
    changed = tmp_path / "pictures" / "0001.png"
    random_pictures.save(changed, random_pictures.pixels(77))
    status = changed.stat()
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    assert _prepare(tmp_path).data_dir != first.data_dir


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "no file below"),
        (("readme.txt",), "no file below"),
        (("train/a.png", "test/readme.txt"), r"no file below .*test"),
        (("a.png",), "1 pictures, copies among them, give 1 for train and 0 for test"),
    ],
)
def test_directories_without_a_data_set_are_refused(tmp_path, files, message):
    (tmp_path / "pictures").mkdir()
    for name in files:
        path = tmp_path / "pictures" / name
        random_pictures.save(path, random_pictures.pixels(0)) if name.endswith("png") else (
            path.parent.mkdir(exist_ok=True),
            path.write_text(""),
        )
    with pytest.raises(ValueError, match=message):
        _prepare(tmp_path)


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _prepare(tmp_path, "nowhere")
    with pytest.raises(ValueError, match="size 0"):
        _prepare(tmp_path, size=0)
    with pytest.raises(ValueError, match=r"test_share 1\.0"):
        _prepare(tmp_path, test_share=1.0)
    with pytest.raises(ValueError, match=r"max_bad_fraction 1\.5"):
        _prepare(tmp_path, max_bad_fraction=1.5)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("女の子 がぎぐ.png".encode(), "女の子 がぎぐ.png"),
        ("فتاة🙂.png".encode(), "فتاة🙂.png"),
        (b"\x8ae.png", "\\x8ae.png"),
        (b"two\nlines.png", "two\\nlines.png"),
    ],
)
def test_names_in_any_script(tmp_path, name, told):
    _fill(tmp_path / "pictures", range(60))
    folder = os.fsencode(tmp_path / "pictures")
    os.rename(folder + b"/0000.png", folder + b"/" + name)
    builder = _prepare(tmp_path)
    assert told in _names(builder, "train") + _names(builder, "test")
    os.truncate(folder + b"/" + name, 0)
    builder = _prepare(tmp_path, max_bad_fraction=0.1)
    assert _report(builder)["left_out"] == [{"name": told, "reason": "empty (0 bytes)"}]


def test_real_pictures(shared, tmp_path):
    builder = anime_face.prepare(shared / "data" / "anime_faces" / "test", tmp_path, size=64)
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    assert sum(counts.values()) == 200
    assert 3 <= counts["test"] <= 25
    image = pipeline.open_source(builder, "train")[0]["image"]
    assert image.shape == (64, 64, 3)
    assert image.std() > 20
