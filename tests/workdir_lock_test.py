"""One run at a time in a folder."""

import os
import signal
import subprocess
import sys

import pytest

from ssimbad_jax.stages import run, weights, workdir_lock
from tests import tiny_run

_HOLDER = """
import pathlib, sys, time
from ssimbad_jax.stages import workdir_lock
with workdir_lock.hold(pathlib.Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_second_run_is_refused_until_the_first_ends(tmp_path):
    with workdir_lock.hold(tmp_path / "run"):
        with pytest.raises(
            workdir_lock.LockedError, match=rf"in use .*process {os.getpid()} on .*--workdir"
        ):
            with workdir_lock.hold(tmp_path / "run"):
                pass
        with pytest.raises(workdir_lock.LockedError, match=r"or choose another --out$"):
            with workdir_lock.hold(tmp_path / "run", "another --out"):
                pass
    with workdir_lock.hold(tmp_path / "run"):
        pass


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(NotADirectoryError, match=rf"^{folder} is a file, .* another --out$"):
            with workdir_lock.hold(folder, "another --out"):
                pass


def test_a_killed_run_leaves_no_lock(tmp_path):
    command = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            with pytest.raises(workdir_lock.LockedError, match=str(process.pid)):
                with workdir_lock.hold(tmp_path):
                    pass
        finally:
            process.send_signal(signal.SIGKILL)
    with workdir_lock.hold(tmp_path):
        pass


@pytest.mark.parametrize(
    ("held", "stages", "refused"),
    [
        ("", ["train"], True),
        ("", ["calibrate", "train", "evaluate"], True),
        ("", ["evaluate"], False),  # to score a run while it is trained
        ("eval", ["evaluate"], True),
        ("eval", ["train"], False),
        ("eval_other", ["evaluate"], False),
    ],
)
def test_what_is_locked_is_what_the_stages_write(
    prepared_dir, tmp_path, monkeypatch, held, stages, refused
):
    ran = []
    monkeypatch.setattr(
        run, "STAGES", {name: lambda *_, **__: ran.append(1) for name in run.STAGES}
    )
    monkeypatch.setattr(weights, "check_exist", lambda *_: None)  # as if it was trained
    config = tiny_run.make_config(prepared_dir)
    with workdir_lock.hold(tmp_path / held):
        if refused:
            with pytest.raises(workdir_lock.LockedError):
                run.run(config, tmp_path, stages)
        else:
            run.run(config, tmp_path, stages)
    assert len(ran) == (0 if refused else len(stages))
