"""Takes the place of main in tests of the table of results: copies a finished run in no time.

Variables say what it does: STAND_IN_RUN is the finished run, and STAND_IN_CALLS a file to which
each call adds a line. A workdir whose name is STAND_IN_FAILS fails, one whose name is
STAND_IN_WAITS waits to be ended.
"""

import os
import pathlib
import shutil
import sys
import time


def _call(given: dict[str, str]) -> None:
    finished, workdir = pathlib.Path(os.environ["STAND_IN_RUN"]), pathlib.Path(given["--workdir"])
    stages, folder = given["--stages"], given.get("--config.eval.folder", "")
    with pathlib.Path(os.environ["STAND_IN_CALLS"]).open("a") as file:
        file.write(f"{workdir.name} {folder or stages}\n")
    if workdir.name == os.environ.get("STAND_IN_FAILS"):
        sys.exit("error: the disk is full; free some")
    if workdir.name == os.environ.get("STAND_IN_WAITS"):
        time.sleep(60)
    if stages == "evaluate":
        shutil.copytree(finished / "eval", workdir / folder, dirs_exist_ok=True)
    elif stages == "refine":
        checkpoints = workdir / "checkpoints"
        shutil.copytree(checkpoints / "pretrain", checkpoints / "refine", dirs_exist_ok=True)
        shutil.copy(finished / "config.json", workdir)
    else:
        shutil.copytree(finished, workdir, dirs_exist_ok=True)


if __name__ == "__main__":
    _call(dict(flag.split("=", 1) for flag in sys.argv[1:]))
