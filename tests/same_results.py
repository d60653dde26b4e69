"""Whether two runs ended in the same numbers, bit for bit."""

import json
import pathlib

import jax
import ml_collections
import numpy as np

from ssimbad_jax.training import metric_log
from tests import tiny_run


def assert_same_parameters(first: pathlib.Path, second: pathlib.Path) -> None:
    """The last checkpoints: parameters, average, optimiser's state, position in the data."""
    config = ml_collections.ConfigDict(json.loads((first / "config.json").read_text()))
    step = max(int(path.name) for path in (first / "checkpoints" / "pretrain").iterdir())
    states = [tiny_run.restore(config, workdir, step) for workdir in (first, second)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def assert_same_scores(first: pathlib.Path, second: pathlib.Path) -> None:
    """The scores, without their times, and the pictures that were scored."""
    folders = [workdir / "eval" for workdir in (first, second)]
    scores = [_without_times(json.loads((f / "metrics.json").read_text())) for f in folders]
    assert scores[0] == scores[1]
    assert _bytes_of(folders[0], "**/*.png") == _bytes_of(folders[1], "**/*.png")


def assert_same_log(first: pathlib.Path, second: pathlib.Path) -> None:
    """Every row of the log, without its times, and the pictures drawn on the way."""
    logs = [metric_log.read(workdir / "metrics.jsonl") for workdir in (first, second)]
    assert _without_times(logs[0]) == _without_times(logs[1])
    folders = [workdir / "samples" for workdir in (first, second)]
    assert _bytes_of(folders[0], "*.png") == _bytes_of(folders[1], "*.png")


def assert_same_calibration(first: pathlib.Path, second: pathlib.Path) -> None:
    """The measured curves and the chosen scale."""
    records = [json.loads((w / "calibration.json").read_text()) for w in (first, second)]
    assert _without_times(records[0]) == _without_times(records[1])


def _without_times(value):
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if "second" not in k}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def _bytes_of(folder: pathlib.Path, pattern: str) -> dict[pathlib.Path, bytes]:
    found = {path.relative_to(folder): path.read_bytes() for path in folder.glob(pattern)}
    assert found, f"no {pattern} in {folder}"
    return found
