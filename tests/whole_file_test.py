"""Files that appear whole or not at all."""

import pytest

from ssimbad_jax.training import whole_file


def test_a_reader_finds_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with whole_file.replacing(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_in_the_middle_costs_nothing(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(OSError, match="disk is full"), whole_file.replacing(path) as unfinished:
        unfinished.write_text("ne")
        raise OSError("disk is full")
    assert path.read_text() == "old"
