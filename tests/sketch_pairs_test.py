"""Which sketch gets which reference, and what is never taken for one."""

import os
import pathlib
import unicodedata

import pytest

from ssimbad_jax.data import sketch_pairs


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Makes empty files; paths may be relative to the folder."""
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


def _find(sketches, references, out="out"):
    return sketch_pairs.find([sketches], [references], pathlib.Path(out))


def _pairs(items):
    return {item.name: item.reference and item.reference.as_posix() for item in items}


def test_one_reference_is_for_all(tree):
    tree("s/a.png", "s/b.jpg", "s/sub/c.webp", "s/notes.txt", "r/x.png")
    for reference in ("r", "r/x.png", "r/*.png"):
        items, unused = _find("s", reference)
        assert _pairs(items) == dict.fromkeys(("a", "b", "sub/c"), "r/x.png")
        assert unused == []


def test_several_references_are_paired_by_name(tree):
    tree("s/a.png", "s/b.png", "r/a.jpg", "r/b.png", "r/c.png")
    items, unused = _find("s", "r")
    assert _pairs(items) == {"a": "r/a.jpg", "b": "r/b.png"}
    assert unused == ["r/c.png"]


def test_unpaired_sketches_are_named(tree):
    tree("s/a.png", "s/alone.png", "r/a.jpg", "r/c.png")
    items, _ = _find("s", "r")
    assert [item.problem for item in items] == ["", "none of the 2 references has its name"]
    assert items[1].reference is None


def test_the_same_name_in_several_subfolders_is_told_apart_by_the_folder(tree):
    tree("s/x/a.png", "s/y/a.png", "r/x/a.png", "r/y/a.png")
    items, unused = _find("s", "r")
    assert _pairs(items) == {"x/a": "r/x/a.png", "y/a": "r/y/a.png"}
    assert unused == []


def test_folders_of_references_may_be_laid_out_otherwise(tree):
    tree("s/x/a.png", "s/b.png", "r/a.png", "r/deep/b.png")
    assert _pairs(_find("s", "r")[0]) == {"b": "r/deep/b.png", "x/a": "r/a.png"}


def test_two_references_of_one_name_are_refused_by_name(tree):
    tree("s/a.png", "r/a.png", "r/a.jpg")
    (item,), _ = _find("s", "r")
    assert item.reference is None
    assert item.problem == "2 references have its name: r/a.jpg, r/a.png"


def test_two_sketches_that_differ_in_their_ending_get_two_results(tree):
    tree("s/a.png", "s/a.jpg", "r/x.png")
    assert sorted(_pairs(_find("s", "r")[0])) == ["a.jpg", "a.png"]


def test_patterns_keep_the_folders_below_them_apart(tree):
    tree("s/x/a.png", "s/y/a.png", "s/y/b.jpg", "s/y/z/c.png", "r/x.png")
    assert sorted(_pairs(_find("s/*/*.png", "r")[0])) == ["x/a", "y/a"]
    assert sorted(_pairs(_find("s/**/*.png", "r")[0])) == ["x/a", "y/a", "y/z/c"]


def test_names_with_brackets_are_files_before_they_are_patterns(tree):
    tree("s/a[1].png", "r/x.png")
    assert sorted(_pairs(_find("s/a[1].png", "r")[0])) == ["a[1]"]


def test_files_given_twice_are_coloured_once(tree):
    tree("s/a.png", "r/x.png")
    items, _ = sketch_pairs.find(["s", "s/a.png", "s/*"], ["r"], pathlib.Path("out"))
    assert _pairs(items) == {"a": "r/x.png"}


def test_names_in_any_script_are_paired_however_accents_are_stored(tree):
    tree("s/絵 ё.png", "s/b.png", "r/b.png")
    tree("r/" + unicodedata.normalize("NFD", "絵 ё") + ".jpg")
    items, unused = _find("s", "r")
    assert sorted(_pairs(items)) == ["b", "絵 ё"]
    assert unused == []
    assert all(item.reference for item in items)


def test_names_that_are_not_utf8_can_be_printed(tree):
    tree("s/b.png", "r/x.png")
    os.close(os.open(b"s/\x8ae.png", os.O_CREAT))
    assert sorted(_pairs(_find("s", "r")[0])) == ["\\x8ae", "b"]


def test_results_below_the_sketches_are_not_coloured(tree):
    tree("s/a.png", "s/out/a.png", "s/out/contact_sheet.png", "r/x.png")
    for sketches in ("s", "s/**/*.png"):
        assert _pairs(_find(sketches, "r", out="s/out")[0]) == {"a": "r/x.png"}


def test_references_below_the_sketches_are_no_sketches(tree):
    tree("s/a.png", "s/colours/a.png", "s/colours/b.png")
    items, unused = _find("s", "s/colours")
    assert _pairs(items) == {"a": "s/colours/a.png"}
    assert unused == ["s/colours/b.png"]


def test_sketches_below_the_references_are_no_references(tree):
    tree("r/a.png", "r/b.png", "r/s/a.png")
    assert _pairs(_find("r/s", "r")[0]) == {"a": "r/a.png"}


def test_sketches_cannot_be_their_own_references(tree):
    tree("s/a.png", "s/b.png")
    for sketches in ("s", "s/a.png", "s/*.png"):
        with pytest.raises(ValueError, match="--reference=s names the sketches themselves"):
            _find(sketches, "s")


def test_a_reference_among_the_sketches_is_none_of_them(tree):
    tree("s/a.png", "s/b.png", "s/c.png")
    assert _pairs(_find("s", "s/a.png")[0]) == {"b": "s/a.png", "c": "s/a.png"}


@pytest.mark.parametrize("given", ["s", "s/*.png"])
def test_the_folder_of_the_sketches_is_not_for_results(tree, given):
    tree("s/a.png", "r/x.png")
    with pytest.raises(ValueError, match=r"--out=s is the folder of"):
        _find(given, "r", out="s")
    with pytest.raises(ValueError, match=r"--out=r is the folder of"):
        _find(given, "r", out="r")


@pytest.mark.parametrize("missing", ["nowhere", "nowhere/*.png", "empty", "s/*.jpg", "s/b.png"])
def test_what_names_nothing_is_refused(tree, missing):
    tree("s/a.png", "r/x.png", "empty/notes.txt")
    with pytest.raises(FileNotFoundError, match="--sketch=") as refusal:
        _find(missing, "r")
    assert missing in str(refusal.value)
    with pytest.raises(FileNotFoundError, match="--reference="):
        _find("s", missing)
