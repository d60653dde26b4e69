"""The program: refusals before anything runs, and a run that is killed and continued."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import ml_collections
import numpy as np
import pytest

from ssimbad_jax.training import metric_log
from tests import tiny_run

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
# One device, and compiled like the tests of the stages, so that the compilation cache is shared.
_ENVIRONMENT = {
    "JAX_NUM_CPU_DEVICES": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
}
_QUICKSTART = "--config=configs/quickstart.py"

REFUSALS = {
    "unknown field": (
        [_QUICKSTART, "--config.train.stepz=3"],
        "--config.train.stepz=3: the config has no field 'stepz'; did you mean 'steps'?",
    ),
    "unknown part": (
        [_QUICKSTART, "--config.foo.bar=3"],
        "--config.foo.bar=3: the config has no field 'foo'",
    ),
    "wrong type": (
        [_QUICKSTART, "--config.train.steps=abc"],
        "--config.train.steps=abc: invalid literal for int",
    ),
    "impossible combination": (
        [_QUICKSTART, "--config.train.batch_size=10", "--config.train.accumulate=4"],
        "train.batch_size is 10, not divisible by 1 device(s) times train.accumulate = 4",
    ),
    "unknown stage": (
        [_QUICKSTART, "--stages=calibrate,trian"],
        "--stages names 'trian'; choose from calibrate,train,evaluate",
    ),
    "missing config": (["--config=configs/nowhere.py"], "configs/nowhere.py"),
    "no config": ([], "--config must have a value"),
}


def _start(flags, workdir, **streams):
    command = [sys.executable, "-m", "ssimbad_jax.main", *flags, f"--workdir={workdir}"]
    environment = {**os.environ, **_ENVIRONMENT}
    return subprocess.Popen(command, cwd=_REPOSITORY, env=environment, text=True, **streams)


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """(exit status, output, workdir) of each refusal; started together, since imports take time."""
    started = {}
    for name, (flags, _) in REFUSALS.items():
        workdir = tmp_path_factory.mktemp("refused") / "run"
        process = _start(flags, workdir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        started[name] = (process, workdir)
    return {
        name: (process.communicate()[0], process.returncode, workdir)
        for name, (process, workdir) in started.items()
    }


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_name_the_thing_and_write_nothing(refused, name):
    output, status, workdir = refused[name]
    assert status not in (0, None)
    assert REFUSALS[name][1] in output
    assert "Traceback" not in output
    assert not workdir.exists()


@pytest.fixture(scope="module")
def runs(prepared_dir, tmp_path_factory):
    """Workdirs of the same run: `whole`, and `parts`, killed on the way and started again."""
    folder = tmp_path_factory.mktemp("runs")
    fields = {**tiny_run.FIELDS, "data.prepared_dir": prepared_dir}
    flags = ["--config=configs/edm_ssimbad.py"]
    flags += [f"--config.{name}={value}" for name, value in fields.items()]
    assert _start(flags, folder / "whole").wait() == 0

    # Pictures at every step: more time to be killed in, and no change of the numbers.
    flags.append("--config.train.sample_every=1")
    checkpoints = folder / "parts" / "checkpoints" / "pretrain"
    with _start(flags, folder / "parts") as process:
        while not (checkpoints / str(tiny_run.CHECKPOINT_EVERY)).exists():
            assert process.poll() is None, "it ended before its first checkpoint"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (checkpoints / str(tiny_run.STEPS)).exists(), "it was killed too late"
    continued = _start(flags, folder / "parts", stdout=subprocess.PIPE)
    output, _ = continued.communicate()
    assert continued.returncode == 0
    assert "train: continues from step" in output
    return folder


def test_an_interrupted_training_equals_an_uninterrupted_one_bit_for_bit(runs):
    config = json.loads((runs / "whole" / "config.json").read_text())
    config = ml_collections.ConfigDict(config)
    whole, parts = (
        tiny_run.restore(config, runs / name, tiny_run.STEPS) for name in ("whole", "parts")
    )
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


def test_their_scores_are_the_same(runs):
    whole, parts = (
        json.loads((runs / name / "eval" / "metrics.json").read_text())
        for name in ("whole", "parts")
    )
    for row in (*whole["rows"], *parts["rows"]):
        del row["seconds_per_image"]
    assert whole == parts
    for setting in ("same", "cross"):
        for path in (runs / "whole" / "eval" / setting).iterdir():
            assert path.read_bytes() == (runs / "parts" / "eval" / setting / path.name).read_bytes()


def test_the_log_of_an_interrupted_training_has_no_gaps_and_no_repetitions(runs):
    logs = []
    for name in ("whole", "parts"):
        rows = metric_log.read(runs / name / "metrics.jsonl")
        logs.append([{k: v for k, v in row.items() if k != "images_per_second"} for row in rows])
    assert logs[0] == logs[1]


def test_the_times_of_both_parts_are_counted(runs):
    for name, starts in (("whole", 1), ("parts", 2)):
        record = json.loads((runs / name / "run.json").read_text())
        assert record["stages"]["train"]["starts"] == starts
        assert record["stages"]["evaluate"]["finished"]
        assert record["config"] == "edm_ssimbad"
