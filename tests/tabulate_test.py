"""Making the runs of the table with a stand-in for main: order, going on, failures, signals."""

import os
import shutil
import signal
import threading
import time

import pytest

from ssimbad_jax.stages import tabulate, workdir_lock
from ssimbad_jax.stages.tabulating import calls, plan
from ssimbad_jax.training import interruption
from tests import tiny_run

# ml_collections loads config files in a way that is going.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

COMMAND = "python -m ssimbad_jax.results"
SETTINGS = plan.Settings(rows=("regression", "refined_4"), seeds=1)
BY_CALLS = ["eval_heun50", "eval_euler10", "eval_euler50", "eval_euler5", "eval_euler3"]
ALL = [
    *(f"ssimbad_seed0 {call}" for call in ("calibrate,train", *BY_CALLS)),
    "regression_seed0 calibrate,train",
    "regression_seed0 eval_own",
    "refined_4_seed0 refine",
    "refined_4_seed0 eval_own",
]


def _make(out, settings=SETTINGS):
    return tabulate.make(settings, out, COMMAND)


def test_each_run_is_made_behind_what_it_starts_from_and_only_once(main, tmp_path, capsys):
    out = tmp_path / "out"
    assert _make(out) == []
    assert main() == ALL
    for file in (tabulate.MARKDOWN, tabulate.PAGE):
        assert (out / file).exists()
    assert f"* command: `{COMMAND}`" in (out / tabulate.MARKDOWN).read_text()
    capsys.readouterr()
    assert _make(out) == []
    assert main() == []
    assert capsys.readouterr().out.count("done already") == 3


def test_what_is_missing_or_older_than_its_checkpoint_is_made_again(main, tmp_path):
    out = tmp_path / "out"
    _make(out)
    main()
    workdir = plan.workdir(out, plan.runs(SETTINGS)[0])
    shutil.rmtree(workdir / "eval_euler5")
    _make(out)
    assert main() == ["ssimbad_seed0 eval_euler5"]
    # As after more training.
    newest = workdir / "checkpoints" / "pretrain" / str(tiny_run.STEPS)
    shutil.rmtree(newest)
    _make(out)
    # The stand-in's scores are those of the step that was removed, so only the calls tell.
    assert main()[:5] == [f"ssimbad_seed0 {call}" for call in BY_CALLS]


def test_other_flags_of_the_same_run_call_main_again(main, tmp_path):
    out = tmp_path / "out"
    folders = [tmp_path / parent / "faces" for parent in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
    pairs = tmp_path / "pairs.npz"
    pairs.touch()
    both = ["regression_seed0 calibrate,train", "regression_seed0 eval_own"]
    for changed, expected in (
        ({}, both),
        ({"changes": ("train.steps=2000",)}, both),
        ({"data": str(folders[0])}, both),
        ({"data": str(folders[1])}, []),  # moved
        ({"data": f"{folders[1]}/"}, []),  # as shells complete it
        ({"data": str(folders[1]), "pairs": str(pairs)}, both),
    ):
        _make(out, plan.Settings(**{"rows": ("regression",), "seeds": 1} | changed))
        assert main() == expected


def test_numbers_of_another_machine_are_merged_without_a_run(main, tmp_path):
    out, merged = tmp_path / "out", tmp_path / "merged"
    _make(out)
    main()
    tabulate.write_what_is_there(merged, [out / tabulate.NUMBERS])
    assert main() == []
    assert "| regression |" in (merged / tabulate.MARKDOWN).read_text()


def test_numbers_that_are_not_taken_are_told_with_the_reason(main, tmp_path, capsys):
    out, there = tmp_path / "out", tmp_path / "there"
    settings = plan.Settings(rows=("regression",), seeds=1)
    _make(there, settings)
    main()
    other = plan.Settings(rows=("regression",), seeds=1, changes=("train.steps=2000",))
    tabulate.make(other, out, COMMAND, [there / tabulate.NUMBERS])
    assert main() == ["regression_seed0 calibrate,train", "regression_seed0 eval_own"]
    assert (
        "regression_seed0: made again, and not taken, since train was made with less instead of "
        "--config.train.steps=2000\n"
    ) in capsys.readouterr().out


def test_two_calls_do_not_work_in_one_folder(main, tmp_path):
    with workdir_lock.hold(tmp_path / "out"):
        with pytest.raises(workdir_lock.LockedError, match=r"choose another --out$"):
            _make(tmp_path / "out")
    assert main() == []


def test_a_row_that_fails_is_told_and_the_others_are_made(main, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STAND_IN_FAILS", "ssimbad_seed0")
    out = tmp_path / "out"
    assert _make(out) == ["ssimbad_seed0", "refined_4_seed0"]
    said = capsys.readouterr().out
    assert "train ended with status 1; the last lines of " in said
    assert "\n  error: the disk is full; free some\n" in said
    assert "refined_4_seed0: left out, since the training of ssimbad_seed0 failed" in said
    assert "regression" in (out / tabulate.MARKDOWN).read_text()
    main()
    monkeypatch.delenv("STAND_IN_FAILS")
    assert _make(out) == []
    assert main() == [call for call in ALL if not call.startswith("regression")]


def test_a_signal_stops_the_call_and_the_same_command_goes_on(main, tmp_path, monkeypatch):
    monkeypatch.setenv("STAND_IN_WAITS", "refined_4_seed0")
    out = tmp_path / "out"
    log = out / plan.RUNS / "refined_4_seed0" / calls.LOG

    def stop():
        while not log.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    begin = time.monotonic()
    with interruption.handled(), pytest.raises(interruption.Interrupted):
        _make(out)
    assert time.monotonic() - begin < 50  # the call would wait for a minute
    main()
    monkeypatch.delenv("STAND_IN_WAITS")
    assert _make(out) == []
    assert main() == ["refined_4_seed0 refine", "refined_4_seed0 eval_own"]


def test_nothing_is_run_with_settings_that_cannot_work(main, tmp_path):
    with pytest.raises(ValueError, match="--rows names 'nothing'; choose out of ssimbad,"):
        _make(tmp_path / "out", plan.Settings(rows=("nothing",)))
    assert main() == [] and not (tmp_path / "out").exists()
