"""Evaluation pairs that only have to be there."""

import pathlib

import numpy as np


def save(path: pathlib.Path, count: int, size: int) -> None:
    """Writes `count` black pairs of a size."""
    pictures = np.zeros((count, size, size, 3), np.uint8)
    np.savez(
        path,
        gt=pictures,
        sketch=pictures[..., 0],
        reference_same=pictures,
        reference_cross=pictures,
    )
