"""Which pictures a folder holds, in which split, with which sketch."""

import errno
import os

import pytest

from ssimbad_jax.data import picture_folder


def _touch(directory, *names):
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _found(directory):
    return [(entry.name, entry.split) for entry in picture_folder.find_pictures(directory)]


def test_a_tree_is_searched_in_order_of_names(tmp_path):
    _touch(tmp_path, "b/2.png", "b/10.PNG", "a/x/1.jpeg", "c.webp")
    assert _found(tmp_path) == [
        ("a/x/1.jpeg", None),
        ("b/10.PNG", None),
        ("b/2.png", None),
        ("c.webp", None),
    ]


def test_files_that_are_no_pictures_and_hidden_ones_are_passed_over(tmp_path):
    _touch(tmp_path, "a.png", "notes.txt", "b.png.part", ".c.png", ".thumbnails/d.png", "png")
    assert _found(tmp_path) == [("a.png", None)]


def test_files_are_not_opened(tmp_path):
    _touch(tmp_path, "empty.jpg")
    (entry,) = picture_folder.find_pictures(tmp_path)
    assert entry.picture == tmp_path / "empty.jpg"
    assert entry.sketch is None


def test_given_splits_are_the_only_folders_searched(tmp_path):
    _touch(tmp_path, "train/1.png", "test/sub/2.png", "elsewhere/3.png", "4.png")
    assert _found(tmp_path) == [("train/1.png", "train"), ("test/sub/2.png", "test")]


def test_one_of_two_splits_is_an_ordinary_folder(tmp_path):
    _touch(tmp_path, "train/1.png", "2.png")
    assert _found(tmp_path) == [("2.png", None), ("train/1.png", None)]


def test_linked_folders_are_followed(tmp_path):
    _touch(tmp_path, "elsewhere/1.png", "pictures/0.png")
    (tmp_path / "pictures" / "link").symlink_to(tmp_path / "elsewhere")
    assert _found(tmp_path / "pictures") == [("0.png", None), ("link/1.png", None)]


def test_the_papers_layout_pairs_pictures_with_sketches(tmp_path):
    for split in ("train", "test"):
        for kind in ("reference", "sketch"):
            _touch(tmp_path, f"{split}_data/{kind}/a.png", f"{split}_data/{kind}/sub/b.jpg")
    entries = picture_folder.find_pictures(tmp_path)
    assert [entry.split for entry in entries] == ["train", "train", "test", "test"]
    for entry in entries:
        assert entry.name == entry.picture.relative_to(tmp_path).as_posix()
        assert "reference" in entry.picture.parts
        assert str(entry.sketch) == str(entry.picture).replace("reference", "sketch")


_PAIRS = ("train_data/reference/1.png", "train_data/sketch/1.png")


@pytest.mark.parametrize(
    ("names", "lacking"),
    [
        (_PAIRS, r"'\S*/test_data' does not exist"),
        (("train_data/1.png",), r"'\S*/reference' does not exist and '\S*/sketch' does not exist"),
        (_PAIRS[:1], r"'\S*/train_data/sketch' does not exist"),
        ((_PAIRS[0], "train_data/sketch/notes.txt"), r"'\S*/train_data/sketch' holds no picture"),
        ((*_PAIRS, "test_data/sketch/2.png"), r"'\S*/test_data/reference' does not exist"),
    ],
)
def test_folders_that_the_papers_layout_lacks_are_named(tmp_path, names, lacking):
    _touch(tmp_path, *names)
    with pytest.raises(ValueError, match=rf"'test_data', but {lacking}; add them, or rename"):
        picture_folder.find_pictures(tmp_path)


def test_pictures_without_partner_are_named(tmp_path):
    names = [f"train_data/reference/{number:02d}.png" for number in range(12)]
    _touch(tmp_path, *names, "train_data/sketch/03.png", "train_data/sketch/other.png")
    with pytest.raises(ValueError, match="12 and 2 files 12 stand alone") as refusal:
        picture_folder.find_pictures(tmp_path)
    assert "reference/00.png" in str(refusal.value)
    assert "reference/03.png" not in str(refusal.value)
    assert str(refusal.value).endswith("and 2 more; add the partners or remove these")


@pytest.mark.parametrize("names", [(), ("readme.txt",), (".hidden.png",)])
def test_folders_without_pictures_are_refused(tmp_path, names):
    _touch(tmp_path, *names)
    with pytest.raises(ValueError, match=r"no file below .* ends in .*\.png"):
        picture_folder.find_pictures(tmp_path)


def test_a_split_without_pictures_is_refused(tmp_path):
    _touch(tmp_path, "train/1.png", "test/readme.txt")
    with pytest.raises(ValueError, match=r"no file below '.*test'"):
        picture_folder.find_pictures(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "file.png"])
def test_what_is_no_folder_is_refused(tmp_path, name):
    _touch(tmp_path, "file.png")
    with pytest.raises(FileNotFoundError, match=rf"there is no folder '.*{name}'"):
        picture_folder.find_pictures(tmp_path / name)


def test_names_that_are_not_utf8_become_readable(tmp_path):
    os.close(os.open(os.fsencode(tmp_path) + b"/\x8ae.png", os.O_CREAT))
    (entry,) = picture_folder.find_pictures(tmp_path)
    assert entry.name == "\\x8ae.png"
    assert entry.picture.exists()


def test_links_in_a_circle_are_not_followed_again(tmp_path):
    _touch(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "other").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "other").symlink_to(tmp_path / "a")
    (tmp_path / "b" / "self").symlink_to(".")
    assert [name for name, _ in _found(tmp_path)] == [
        "a/1.png",
        "a/other/2.png",
        "b/2.png",
        "b/other/1.png",
    ]


def test_a_folder_is_a_folder_whatever_its_name(tmp_path):
    _touch(tmp_path, "folder.png/1.png")
    assert _found(tmp_path) == [("folder.png/1.png", None)]


def test_a_folder_that_cannot_be_searched_is_refused(tmp_path, monkeypatch):
    _touch(tmp_path, "1.png", "secret/2.png")
    scan = os.scandir

    # Permission bits do not stop root.
    def refuse(path):
        if "secret" in os.fspath(path):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=r"folder '.*/secret' cannot be searched \(Permission den"):
        picture_folder.find_pictures(tmp_path)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("女の子 がぎぐ.png", None),
        ("فتاة.png", None),
        ("ολ'\"$(x);&|.png", None),
        ("🙂.png", None),
        ("two\nlines\r.png", "two\\nlines\\r.png"),
        ("\u2028\x1b[1m.png", "\\u2028\\x1b[1m.png"),
    ],
)
def test_names_in_any_script_stay_one_line(tmp_path, name, told):
    _touch(tmp_path, name)
    assert _found(tmp_path) == [(told or name, None)]


def test_pairs_are_told_apart_by_their_endings(tmp_path):
    _touch(tmp_path, "train_data/reference/1.png", "train_data/sketch/1.jpg")
    with pytest.raises(ValueError, match=r"equal names, endings included,.* 2 stand alone: ") as no:
        picture_folder.find_pictures(tmp_path)
    assert "reference/1.png, sketch/1.jpg; add the partners or remove these" in str(no.value)


@pytest.mark.parametrize(
    ("folders", "searched"),
    [
        (("train",), ["."]),
        (("train", "test"), ["train", "test"]),
        (
            ("test_data", "train"),
            [
                "train_data/reference",
                "train_data/sketch",
                "test_data/reference",
                "test_data/sketch",
            ],
        ),
    ],
)
def test_the_folders_searched(tmp_path, folders, searched):
    for folder in folders:
        (tmp_path / folder).mkdir()
    assert picture_folder.searched(tmp_path) == [tmp_path / folder for folder in searched]
