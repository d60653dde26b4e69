"""Pictures that know how they were made, and contact sheets of many."""

import json

import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.stages import colorize_files
from tests import drawings, random_pictures


def test_a_result_knows_how_it_was_made(tmp_path):
    path = tmp_path / "new" / "folder" / "絵.png"
    record = {"seed": 3, "sketch": "abc", "churn": 0.5}
    picture = PIL.Image.fromarray(random_pictures.pixels(0))
    colorize_files.save_result(path, picture, record)
    assert colorize_files.read_record(path) == record
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(path)), np.asarray(picture))
    assert [file.name for file in path.parent.iterdir()] == ["絵.png"]


def test_other_files_have_no_record(tmp_path):
    PIL.Image.new("RGB", (5, 5)).save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("no picture")
    for name in ("plain.png", "text.png", "nowhere.png"):
        assert colorize_files.read_record(tmp_path / name) is None


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    colorize_files.save_result(path, PIL.Image.new("RGB", (5, 5)), {"seed": 1})

    def full_disk(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(PIL.Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="no space"):
        colorize_files.save_result(path, PIL.Image.new("RGB", (9, 9)), {"seed": 2})
    assert colorize_files.read_record(path) == {"seed": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


def test_the_report_is_json(tmp_path):
    colorize_files.save_report(tmp_path / "report.json", {"items": [{"name": "絵\udc8a"}]})
    assert json.loads((tmp_path / "report.json").read_text()) == {"items": [{"name": "絵\udc8a"}]}
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_many_sketches_make_several_contact_sheets(tmp_path):
    drawings.face(60, 30).save(tmp_path / "sketch.png")
    PIL.Image.new("RGB", (50, 40), "blue").save(tmp_path / "reference.png")
    PIL.Image.new("RGB", (60, 30), "red").save(tmp_path / "result.png")
    files = [tmp_path / f"{name}.png" for name in ("sketch", "reference", "result")]
    rows = [(files[0], files[1], files[2:])] * 13
    sheets = colorize_files.save_contact_sheets(tmp_path, rows)
    assert [path.name for path in sheets] == ["contact_sheet.png", "contact_sheet.2.png"]
    assert sheets == colorize_files.contact_sheet_paths(tmp_path, 13)
    first, second = (np.asarray(PIL.Image.open(path)) for path in sheets)
    assert first.shape[1] == second.shape[1] == 3 * 256
    assert first.shape[0] - second.shape[0] == 11 * 256
    row = second[-256:]
    assert (row[:, 256:512] == [0, 0, 255]).all(), "the reference fills its cell"
    assert (row[10, :256] == 255).all(), "the sketch is padded"
    assert (row[128, 512:] == [255, 0, 0]).all()
    assert colorize_files.save_contact_sheets(tmp_path, []) == []
