"""The program: refusals before anything runs, and a run that is killed and continued."""

import json
import pathlib
import signal
import subprocess
import time

import pytest

from tests import fault_campaign, program, same_results

_QUICKSTART = "--config=configs/quickstart.py"

REFUSALS = {
    "unknown field": (
        [_QUICKSTART, "--config.train.stepz=3"],
        "--config.train.stepz=3: the config has no field 'stepz'; did you mean 'steps'?",
    ),
    "wrong type": (
        [_QUICKSTART, "--config.train.steps=abc"],
        "error: --config.train.steps is 'abc', which is no whole number; write for example "
        "--config.train.steps=1200\n",
    ),
    "impossible combination": (
        [_QUICKSTART, "--config.train.batch_size=10", "--config.train.accumulate=4"],
        "train.batch_size is 10, not divisible by 1 device(s) times train.accumulate = 4",
    ),
    "workdir in the home folder": (
        [_QUICKSTART, "--stages=report", "--workdir=~/no/such run"],
        f"--workdir={pathlib.Path.home()}/no/such run does not exist; name the folder of a run",
    ),
    "a file as workdir": (
        [_QUICKSTART, "--workdir=README.md"],
        "error: --workdir=README.md is a file; name a folder\n",
    ),
    "empty stages": (
        [_QUICKSTART, "--stages="],
        "error: --stages is empty; choose from calibrate,train,refine,evaluate,report, or leave",
    ),
    "no config": ([], "--config must have a value"),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """(exit status, output, workdir) of each refusal; started together, since imports take time."""
    started = {}
    for name, (flags, _) in REFUSALS.items():
        workdir = tmp_path_factory.mktemp("refused") / "run"
        process = program.start(flags, workdir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
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
def runs(tmp_path_factory):
    """The same run twice: left alone, and killed at three points and started again."""
    whole, parts = (fault_campaign.Run(tmp_path_factory.mktemp("runs")) for _ in range(2))
    assert whole.start().wait() == 0, whole.output()

    def has_checkpoint_and_writes_the_next():
        return (parts.workdir / "checkpoints/pretrain/3").exists() and parts.is_writing()

    for is_there, stage in (
        (lambda: "Drawing" in parts.output(), "data preparation"),
        (has_checkpoint_and_writes_the_next, "writing a checkpoint"),
        (lambda: parts.stage() == "evaluation", "evaluation"),
    ):
        assert fault_campaign.kill_when(parts, is_there) == stage
        if stage == "evaluation":
            assert "train: continues from step" in parts.output()
    assert parts.start().wait() == 0, parts.output()
    return whole.workdir, parts.workdir


def test_a_killed_run_ends_in_the_same_parameters_bit_for_bit(runs):
    same_results.assert_same_calibration(*runs)
    same_results.assert_same_parameters(*runs)


def test_a_killed_run_ends_in_the_same_scores_and_pictures(runs):
    same_results.assert_same_scores(*runs)


def test_the_times_of_all_parts_are_counted(runs):
    for workdir, starts in zip(runs, (1, 3), strict=True):
        record = json.loads((workdir / "run.json").read_text())
        assert record["stages"]["train"]["starts"] == starts
        assert record["stages"]["evaluate"]["finished"]
        assert record["config"] == "edm_ssimbad"


def test_the_log_of_a_killed_run_has_no_gaps_and_no_repetitions(runs):
    same_results.assert_same_log(*runs)


def test_sigterm_during_the_data_preparation_ends_with_its_own_status(tmp_path):
    run = fault_campaign.Run(tmp_path)
    process = run.start()
    while "Drawing" not in run.output():
        assert process.poll() is None, run.output()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 75
    assert run.output().splitlines()[-1].endswith("Run the same command again to continue.")
    assert "Traceback" not in run.output()
