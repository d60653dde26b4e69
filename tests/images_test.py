"""Pictures inside the page."""

import base64
import io

import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.stages.reporting import images, run_files
from tests import written_run


@pytest.fixture
def run(tmp_path):
    return run_files.read(written_run.write(tmp_path / "run"), "run")


def _pixels(picture):
    kind, data = picture.uri.split(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(data))))


def test_small_pictures_are_kept_to_the_bit(run):
    path = run.workdir / "eval" / "same" / "00001.png"
    picture = images.load(path, "text")
    np.testing.assert_array_equal(_pixels(picture), np.asarray(PIL.Image.open(path)))
    assert (picture.width, picture.height, picture.text) == (16, 16, "text")


def test_large_pictures_are_compressed_and_shrunk(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 3000, 3), np.uint8)
    PIL.Image.fromarray(noise).save(tmp_path / "a.png")
    picture = images.load(tmp_path / "a.png", "")
    assert (picture.width, picture.height) == (images.LONGEST_SIDE, 240)
    assert len(picture.uri) < 0.5 * picture.width * picture.height * 3


def test_pictures_that_cannot_be_read_are_none(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    assert images.load(tmp_path / "a.png", "") is None
    assert images.load(tmp_path / "nowhere.png", "") is None
    assert images.load(tmp_path, "") is None


def test_the_same_faces_of_all_runs_are_in_one_column(run):
    (run.workdir / "eval" / "cross" / "00001.png").unlink()
    rows = images.faces([run, run._replace(name="other")])
    assert [row.label for row in rows] == ["run, heun-50 (eval)", "other, heun-50 (eval)"] * 2
    assert {len(row.pictures) for row in rows} == {3}
    assert rows[2].pictures[1] is None and rows[2].pictures[2] is not None
    assert rows[0].pictures[1].text == "Face 1, same reference, run, heun-50 (eval)"


def test_grids_strips_and_the_newest_samples_are_labelled(run):
    samples = run.workdir / "samples"
    samples.mkdir()
    grid = run.workdir / "eval" / "grid.png"
    for name in ("00000500.png", "00001000.png"):
        (samples / name).write_bytes(grid.read_bytes())
    (samples / "00001500.png").write_bytes(b"cut off")
    for runs, prefix in (([run], ""), ([run, run._replace(scores=())], "run, ")):
        assert [label for label, _ in images.grids(runs)] == [f"{prefix}heun-50 (eval)"]
        assert [label for label, _ in images.denoising_strips(runs)] == [f"{prefix}heun-50 (eval)"]
        assert images.newest_samples(runs)[0][0] == f"{prefix}step 1000"
    refined = run.workdir / "refine" / "samples"
    refined.mkdir(parents=True)
    (refined / "00000600.png").write_bytes(grid.read_bytes())
    labels = [label for label, _ in images.newest_samples([run])]
    assert labels == ["step 1000", "refinement, step 600"]
    assert images.noise_levels(run) is None
