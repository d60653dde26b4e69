"""Pictures that stages write."""

import pathlib
from collections.abc import Sequence

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from ssimbad_jax.training import whole_file

TITLE_HEIGHT = 18


def save_png(path: pathlib.Path, picture: np.ndarray) -> None:
    """Writes uint8 `[H, W, 3]` or `[H, W, 1]`, at once; makes the folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = PIL.Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    with whole_file.replacing(path) as unfinished:
        shown.save(unfinished, format="PNG")


def save_grid(
    path: pathlib.Path,
    columns: Sequence[np.ndarray],
    titles: Sequence[str] = (),
    smallest_cell: int = 128,
) -> None:
    """Writes a grid with one row a picture.

    Args:
        path: the PNG.
        columns: each uint8 `[N, H, W, 1 or 3]`, such as sketches, references and results.
        titles: of the columns, drawn above them.
        smallest_cell: smaller pictures are enlarged by whole pixels to about this size.
    """
    columns = [np.broadcast_to(column, (*column.shape[:3], 3)) for column in columns]
    cells = np.stack(columns, axis=1)
    rows, width, height, cell_width, channels = cells.shape
    grid = cells.transpose(0, 2, 1, 3, 4).reshape(rows * height, width * cell_width, channels)
    factor = max(1, round(smallest_cell / height))
    grid = grid.repeat(factor, axis=0).repeat(factor, axis=1)
    if titles:
        header = PIL.Image.new("RGB", (grid.shape[1], TITLE_HEIGHT), "white")
        draw, font = PIL.ImageDraw.Draw(header), PIL.ImageFont.load_default(12)
        for column, title in enumerate(titles):
            draw.text((column * cell_width * factor + 3, 2), title, fill="black", font=font)
        grid = np.concatenate([np.asarray(header), grid])
    save_png(path, grid)
