"""Pictures of random pixels, for the tests of folders and files."""

import numpy as np
import PIL.Image

SIZE = 16


def pixels(number, height=SIZE, width=SIZE):
    """Returns uint8 `[height, width, 3]`; each number has its own."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def save(path, pixels, **options):
    """Writes a picture, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(path, **options)
