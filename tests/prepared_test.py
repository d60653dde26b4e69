"""Prepared data on disk: made once and whole, tidied, and known when damaged."""

import os
import pathlib
import pickle
import resource
import threading

import pytest

from ssimbad_jax.data import anime_face, picture_choice, pipeline, prepared, toy_face
from tests import random_pictures


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    for split, count in (("train", 5), ("test", 2)):
        for number in range(count):
            pixels = random_pictures.pixels(number + 100 * count)
            random_pictures.save(folder / split / f"{number}.png", pixels)
    return folder


def _prepare(pictures, data_dir):
    return anime_face.prepare(pictures, data_dir, size=random_pictures.SIZE)


def _toy(_, data_dir):
    return toy_face.prepare(data_dir, train=5, test=2, size=16)


@pytest.mark.parametrize("prepare", [_prepare, _toy])
def test_nothing_but_the_data_is_left(pictures, tmp_path, prepare):
    builder = prepare(pictures, tmp_path / "data")
    folder = pathlib.Path(builder.data_dir)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {builder.name}
    assert {path.name for path in folder.parent.iterdir()} == {".lock", folder.name}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_an_interrupted_preparation_leaves_nothing_and_starts_again(
    pictures, tmp_path, monkeypatch, error
):
    def fail(chosen):
        raise error("now")

    with monkeypatch.context() as patch:
        patch.setattr(picture_choice.Chosen, "read", fail)
        with pytest.raises(error):
            _prepare(pictures, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").glob("*/*/*")] == [".lock"]
    assert len(pipeline.open_source(_prepare(pictures, tmp_path / "data"), "train")) == 5


def test_leftovers_of_a_killed_preparation_are_removed(pictures, tmp_path, monkeypatch):
    killed = []
    choose = picture_choice.choose

    def look(*arguments, **options):
        killed.extend((tmp_path / "data").glob("*/*/*_*"))
        return choose(*arguments, **options)

    monkeypatch.setattr(picture_choice, "choose", look)
    folder = pathlib.Path(_prepare(pictures, tmp_path / "data").data_dir)
    folder.rename(killed[0])  # as if it had been killed before its last step
    assert pathlib.Path(_prepare(pictures, tmp_path / "data").data_dir) == folder
    assert {path.name for path in folder.parent.iterdir()} == {".lock", folder.name}


def test_of_two_processes_one_prepares(pictures, tmp_path, monkeypatch):
    builders, calls = [], []
    choose = picture_choice.choose
    other = threading.Thread(target=lambda: builders.append(_prepare(pictures, tmp_path / "data")))

    def choose_late(*arguments, **options):
        calls.append(None)
        other.start()
        other.join(timeout=0.3)
        assert other.is_alive()  # waits
        return choose(*arguments, **options)

    monkeypatch.setattr(picture_choice, "choose", choose_late)
    builders.append(_prepare(pictures, tmp_path / "data"))
    other.join()
    assert len(calls) == 1
    sources = [pipeline.open_source(builder, "train") for builder in builders]
    assert sources[0].fingerprint == sources[1].fingerprint


def test_a_folder_that_cannot_be_written_is_named(pictures, tmp_path, monkeypatch):
    def refuse(path, *arguments, **options):
        raise OSError(30, "Read-only file system", os.fspath(path))

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    with pytest.raises(
        OSError, match=r"no data can be prepared in .*Read-only.*data\.prepared_dir"
    ):
        _prepare(pictures, tmp_path / "data")


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(pictures, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # of a file, as if it were full
    try:
        with pytest.raises(OSError, match=r"no data can be prepared in .*; where it is full"):
            _prepare(pictures, tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "data").glob("*/*/*")] == [".lock"]


def test_prepared_data_is_read_where_nothing_can_be_written(pictures, tmp_path, monkeypatch):
    _prepare(pictures, tmp_path / "data")

    def refuse(*arguments, **options):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
    monkeypatch.setattr(prepared.filelock, "FileLock", refuse)
    assert len(pipeline.open_source(_prepare(pictures, tmp_path / "data"), "train")) == 5


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("*-train.array_record*", _cut),
        ("*-train.array_record*", _empty),
        ("*-train.array_record*", pathlib.Path.unlink),
        ("*-test.array_record*", pathlib.Path.unlink),
        ("dataset_info.json", _cut),
        ("dataset_info.json", pathlib.Path.unlink),
        ("features.json", pathlib.Path.unlink),
        ("metadata.json", _cut),
        ("metadata.json", pathlib.Path.unlink),
        ("data_report.json", _cut),
        ("data_report.json", pathlib.Path.unlink),
    ],
)
def test_damaged_data_is_noticed_at_opening_with_the_remedy(pictures, tmp_path, file, damage):
    folder = pathlib.Path(_prepare(pictures, tmp_path / "data").data_dir)
    (path,) = folder.glob(file)
    damage(path)
    with pytest.raises(prepared.DamagedError) as refusal:
        pipeline.open_source(_prepare(pictures, tmp_path / "data"), "train")
    message = str(refusal.value)
    assert message.startswith(f"the prepared data in '{folder}' is damaged (")
    assert message.endswith(
        "delete this folder and run the same command again, which prepares it anew"
    )
    assert "\n" not in message


def test_a_flipped_bit_is_noticed_when_its_record_is_read(pictures, tmp_path):
    builder = _prepare(pictures, tmp_path / "data")
    (path,) = pathlib.Path(builder.data_dir).glob("*-train.array_record*")
    data = bytearray(path.read_bytes())
    where = data.index((pictures / "train" / "3.png").read_bytes()[-40:])
    data[where] ^= 1
    path.write_bytes(data)
    source = pipeline.open_source(builder, "train")
    source[2]
    with pytest.raises(prepared.DamagedError, match=r"damaged \(record 3: .*hash mismatch") as no:
        source[3]
    # Reading processes send their errors.
    assert str(pickle.loads(pickle.dumps(no.value))) == str(no.value)
