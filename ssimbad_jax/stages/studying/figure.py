"""The figure of a study."""

import pathlib
from collections.abc import Sequence

from ssimbad_jax.stages.studying.rows import Row

FIGURE = "study.png"


def draw(folder: pathlib.Path, rows: Sequence[Row]) -> None:
    """Draws."""
