"""A picture of the sampler at work: what it holds, and what the network sees in it."""

import pathlib

import numpy as np

from ssimbad_jax.data import conditions
from ssimbad_jax.diffusion import samplers
from ssimbad_jax.stages import pictures

COLUMNS = 8


def save(
    path: pathlib.Path,
    passed: samplers.Passed,
    sketch: np.ndarray,
    reference: np.ndarray,
    sigma_data: float,
) -> None:
    """Writes two rows for each image: the states x_i, and D(x_i; sigma_i) below them.

    States are scaled to the images' standard deviation, whatever their noise. The last D is the
    result.

    Args:
        path: the PNG.
        passed: by the sampler, of a few images.
        sketch: uint8 `[B, H, W]`, in front of the states.
        reference: uint8 `[B, H, W, 3]`, below the sketch.
        sigma_data: standard deviation of the images.
    """
    steps = len(passed.sigma)
    chosen = np.unique(np.linspace(0, steps - 1, min(COLUMNS, steps)).round().astype(int))
    colourless = np.broadcast_to(sketch[..., None], reference.shape)
    columns, titles = [_alternating(colourless, reference)], ["sketch, reference"]
    for step in chosen:
        sigma = float(passed.sigma[step])
        visible = passed.state[step] * (sigma_data / np.hypot(sigma, sigma_data))
        rows = (np.asarray(conditions.to_uint8(x)) for x in (visible, passed.denoised[step]))
        columns.append(_alternating(*rows))
        titles.append(f"sigma {sigma:.3g}")
    pictures.save_grid(path, columns, titles)


def _alternating(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """Returns the images of both in turn: [B, H, W, C] twice -> [2 B, H, W, C]."""
    return np.stack([upper, lower], axis=1).reshape(-1, *upper.shape[1:])
