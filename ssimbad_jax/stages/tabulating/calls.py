"""Calls of main as processes of their own: what is done is not done again, nor what failed hidden.

runs/NAME/calls.json holds the flags of each call that has ended well, runs/NAME/calls.log what
all of them said, and runs/NAME/taken.json marks the numbers of a run that another machine made.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

from ssimbad_jax.stages import calibrate, report, weights
from ssimbad_jax.stages.reporting import run_files
from ssimbad_jax.stages.tabulating import plan
from ssimbad_jax.training import interruption

DONE, LOG = "calls.json", "calls.log"
TAKEN = "taken.json"  # in the folder of a run whose numbers came from another machine
MAIN = ("-m", "ssimbad_jax.main")
_LAST_LINES = 6


class CallError(RuntimeError):
    """A call of main failed; the message ends with what it said last."""


def is_done(workdir: pathlib.Path, call: plan.Call) -> bool:
    """Tells whether a call has ended well with the same flags, and what it made is still there.

    Scores have to be those of the newest checkpoint, but for numbers of another machine.

    Args:
        workdir: of the run.
        call: of main.
    """
    if done(workdir).get(call.name) != call.identity:
        return False
    if is_taken(workdir):
        return True
    if not call.is_scoring:
        which = "refine" if call.name == "refine" else "pretrain"
        return weights.newest_step(workdir, which) is not None
    scores = _read(workdir / call.name / run_files.SCORES)
    if scores.get("weights") not in weights.FOLDERS:
        return False
    newest = weights.newest_step(workdir, scores["weights"])
    return newest is not None and scores.get("checkpoint_step") == newest


def difference(workdir: pathlib.Path, call: plan.Call) -> str:
    """Returns in words how a call differs from the one of its name that has ended well."""
    before = done(workdir).get(call.name)
    if before is None:
        return "is not among what was made"
    old = [flag for flag in before if flag not in call.identity]
    new = [flag for flag in call.identity if flag not in before]
    return f"was made with {' '.join(old) or 'less'} instead of {' '.join(new) or 'less'}"


def done(workdir: pathlib.Path) -> dict[str, Any]:
    """Returns the identities of the calls that have ended well, by their names."""
    return _read(workdir / DONE)


def is_taken(workdir: pathlib.Path) -> bool:
    """Tells whether a run's numbers came from another machine, without its weights."""
    return (workdir / TAKEN).exists()


def start_from(workdir: pathlib.Path, pretrained: pathlib.Path) -> None:
    """Gives a run the pretraining of another one, without taking space for it where that can be.

    Args:
        workdir: of the run that refines.
        pretrained: workdir of the run that was pretrained.

    Raises:
        OSError: it cannot be written.
    """
    folder = weights.FOLDERS["pretrain"]
    if weights.newest_step(workdir, "pretrain") == weights.newest_step(pretrained, "pretrain"):
        return
    unfinished = workdir / "checkpoints" / "pretrain.part"
    for old in (unfinished, workdir / folder):
        shutil.rmtree(old, ignore_errors=True)
    # Checkpoints are never changed, only replaced.
    shutil.copytree(pretrained / folder, unfinished, copy_function=_link_or_copy)
    shutil.copy2(pretrained / calibrate.RESULT, workdir / calibrate.RESULT)
    unfinished.rename(workdir / folder)


def execute(workdir: pathlib.Path, call: plan.Call) -> None:
    """Runs main and waits for its end; a signal that stops this program stops it first.

    Raises:
        CallError: it failed.
        OSError: its log or what is kept of it cannot be written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    arguments = [
        *MAIN,
        f"--workdir={workdir}",
        f"--stages={call.stages}",
        *call.config_flags,
        *call.where_flags,
    ]
    log = workdir / LOG
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n$ python {' '.join(arguments)}\n")
        file.flush()
        process = None
        try:
            with interruption.deferred():  # no process may be started and not known here
                process = subprocess.Popen(
                    [sys.executable, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # so that Ctrl-C reaches it once, from here
                )
            status = process.wait()
        except BaseException:
            if process is not None:
                process.terminate()
                process.wait()
            raise
    if status:
        raise CallError(
            f"{call.name} ended with status {status}; the last lines of {log}:\n"
            + "\n".join(f"  {line}" for line in _last_lines(log))
        )
    ended = done(workdir) | {call.name: call.identity}
    report.write_at_once(workdir / DONE, json.dumps(ended, indent=2))


def _link_or_copy(source: str, destination: str) -> str:
    try:
        os.link(source, destination)
    except OSError:
        shutil.copy2(source, destination)
    return destination


def _last_lines(log: pathlib.Path) -> list[str]:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if line.strip()][-_LAST_LINES:]


def _read(path: pathlib.Path) -> dict[str, Any]:
    """Returns the object in a file, an empty one where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
