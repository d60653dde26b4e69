"""Pictures that stages write."""

import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.stages import pictures


def _random(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_holds_the_pixels(tmp_path, channels):
    picture = _random(9, 7, channels)
    path = tmp_path / "new" / "folder" / "picture.png"
    pictures.save_png(path, picture)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(path)).reshape(9, 7, channels), picture)


def test_a_grid_has_a_row_a_picture_and_a_column_a_kind(tmp_path):
    sketches, faces = _random(3, 10, 12, 1), _random(3, 10, 12, 3)[::-1]
    pictures.save_grid(tmp_path / "grid.png", [sketches, faces], smallest_cell=30)
    grid = np.asarray(PIL.Image.open(tmp_path / "grid.png"))
    assert grid.shape == (3 * 30, 2 * 36, 3)
    for row in range(3):
        cell = grid[30 * row : 30 * row + 30]
        np.testing.assert_array_equal(cell[::3, :36:3], sketches[row].repeat(3, axis=-1))
        np.testing.assert_array_equal(cell[1::3, 37::3], faces[row])


def test_titles_stand_above_and_leave_the_pictures_alone(tmp_path):
    faces = _random(1, 64, 64, 3)
    pictures.save_grid(tmp_path / "plain.png", [faces, faces])
    pictures.save_grid(tmp_path / "titled.png", [faces, faces], titles=["left", "right"])
    plain, titled = (np.asarray(PIL.Image.open(tmp_path / f"{n}.png")) for n in ("plain", "titled"))
    header = titled[: pictures.TITLE_HEIGHT]
    np.testing.assert_array_equal(titled[pictures.TITLE_HEIGHT :], plain)
    assert (header[:, :128] < 100).any() and (header[:, 128:] < 100).any()


def test_large_pictures_are_not_enlarged(tmp_path):
    pictures.save_grid(tmp_path / "grid.png", [_random(1, 200, 200, 3)])
    with PIL.Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (200, 200)
