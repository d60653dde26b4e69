"""How far apart the results of two runs are, made on different numbers of devices and hosts."""

import json
import pathlib

import jax
import ml_collections
import numpy as np
import PIL.Image

from ssimbad_jax.stages import weights
from ssimbad_jax.training import sharding
from tests import tiny_run


def of_parameters(first: pathlib.Path, second: pathlib.Path, which: str = "pretrain") -> float:
    """The largest difference of a parameter of the averaged network."""
    mesh = sharding.data_mesh(jax.devices()[:1])
    params = [weights.load(_config(w), w, mesh, which, "newest").params for w in (first, second)]
    return max(
        float(np.abs(np.asarray(a) - np.asarray(b)).max())
        for a, b in zip(*map(jax.tree.leaves, params), strict=True)
    )


def of_calibrations(first: pathlib.Path, second: pathlib.Path) -> float:
    """The largest difference of a measured SSIM."""
    curves = [
        json.loads((w / "calibration.json").read_text())["mean_ssim"] for w in (first, second)
    ]
    return float(np.abs(np.subtract(*curves)).max())


def of_scores(first: pathlib.Path, second: pathlib.Path, metric: str = "psnr") -> float:
    """The largest difference of a method's mean score."""
    rows = [json.loads((w / "eval" / "metrics.json").read_text())["rows"] for w in (first, second)]
    values = [[value for row in of_run for value in _values(row, metric)] for of_run in rows]
    assert values[0], "there are no scores"
    return float(np.abs(np.subtract(*values)).max())


def of_pictures(first: pathlib.Path, second: pathlib.Path, pattern: str) -> float:
    """The largest difference of a pixel, of 255, in pictures of the same names."""
    names = sorted(path.relative_to(first) for path in first.glob(pattern))
    assert names, f"no {pattern} in {first}"
    assert names == sorted(path.relative_to(second) for path in second.glob(pattern))
    return max(
        float(np.abs(_pixels(first / name) - _pixels(second / name)).max()) for name in names
    )


def samples(workdir: pathlib.Path, step: int) -> int:
    """The number of the next training sample in a checkpoint."""
    return tiny_run.restore(_config(workdir), workdir, step)[1]


def _config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(json.loads((workdir / "config.json").read_text()))


def _values(row: dict, metric: str) -> list[float]:
    return [value for name, value in row.items() if name.startswith(metric) and value is not None]


def _pixels(path: pathlib.Path) -> np.ndarray:
    with PIL.Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.float64)
