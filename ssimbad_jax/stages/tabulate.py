"""The table of results: every row trained, scored and set beside the others.

pictures + configs -> runs/*, RESULTS.md, results.json, results.html, figures/*.png

Each run is a folder of its own, made by calls of main. What was interrupted is continued, what is
done is left alone, here or on another machine, and a row that fails does not stop the others.
"""

import pathlib
import shutil
import time
from collections.abc import Sequence

from ssimbad_jax.stages import workdir_lock
from ssimbad_jax.stages.tabulating import archive, calls, page, plan, results
from ssimbad_jax.training import progress

COMMANDS = "commands.txt"
MARKDOWN, PAGE, NUMBERS = page.MARKDOWN, page.PAGE, archive.FILE
_ELSEWHERE = "another --out"


def make(
    settings: plan.Settings,
    out: pathlib.Path,
    command: str,
    taken: Sequence[pathlib.Path] = (),
) -> list[str]:
    """Makes all runs, and writes the table after each of them.

    Args:
        settings: what to make.
        out: folder of the results; made if it does not exist.
        command: that was given, which the page names.
        taken: results.json of other machines, whose runs are not made again.

    Returns:
        The names of the runs that failed or could not be started.

    Raises:
        ValueError: the settings cannot work; nothing was run.
        FileNotFoundError: a folder or file that they name does not exist; nothing was run.
        LockedError: another call works in `out`.
        OSError: the results cannot be written.
        Interrupted: a signal asked to stop; the same call continues.
    """
    plan.check(settings)
    with workdir_lock.hold(out, _ELSEWHERE):
        _take(out, taken)
        _note_commands(out, [command])
        runs = plan.runs(settings)
        _drop_numbers_that_do_not_do(settings, out, runs)
        if taken:
            write(out)
        return _make_runs(settings, out, runs)


def write_what_is_there(out: pathlib.Path, taken: Sequence[pathlib.Path] = ()) -> None:
    """Writes the table without making a run.

    Args:
        out: folder of the results; made if it does not exist.
        taken: results.json of other machines, whose runs are added.

    Raises:
        FileNotFoundError: one of them does not exist.
        LockedError: another call works in `out`.
        OSError: the results cannot be written.
    """
    with workdir_lock.hold(out, _ELSEWHERE):
        _take(out, taken)
        write(out)


def write(out: pathlib.Path) -> None:
    """Writes table, figures and page of the runs that are there.

    Args:
        out: folder of the results.

    Raises:
        OSError: they cannot be written.
    """
    page.write(out, results.read(out), _commands(out))
    archive.write(out, _commands(out))


def _make_runs(settings: plan.Settings, out: pathlib.Path, runs: Sequence[plan.Run]) -> list[str]:
    """Makes what is missing, and returns the names of the runs that failed or did not start."""
    failed: list[str] = []
    for number, run in enumerate(runs, start=1):
        label = f"[{number}/{len(runs)}] {run.name}"
        if run.start is not None and not _is_trained(settings, out, run.start):
            progress.say(f"{label}: left out, since the training of {run.start.name} failed")
            failed.append(run.name)
            continue
        try:
            is_new = _make_run(settings, out, run, label)
        except calls.CallError as error:
            progress.say(f"{label}: {error}")
            failed.append(run.name)
            is_new = True
        if is_new:
            write(out)
    return failed


def _take(out: pathlib.Path, taken: Sequence[pathlib.Path]) -> None:
    for path in taken:
        _note_commands(out, archive.take(path, out))


def _commands(out: pathlib.Path) -> list[str]:
    """Returns the commands that made the runs."""
    path = out / COMMANDS
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _note_commands(out: pathlib.Path, further: Sequence[str]) -> None:
    commands = dict.fromkeys([*_commands(out), *further])
    out.mkdir(parents=True, exist_ok=True)
    (out / COMMANDS).write_text("\n".join(commands) + "\n", encoding="utf-8")


def _drop_numbers_that_do_not_do(
    settings: plan.Settings, out: pathlib.Path, runs: Sequence[plan.Run]
) -> None:
    """Removes what was taken from another machine where the run has to be made here.

    That is so with other settings than asked for, and where a refinement needs the weights.
    """
    for run in runs:
        missing = _missing(settings, out, run)
        if not missing:
            continue
        for needed in (run, run.start):
            if needed is None or not calls.is_taken(workdir := plan.workdir(out, needed)):
                continue
            reason = (
                f"{missing[0].name} {calls.difference(workdir, missing[0])}"
                if needed == run
                else f"{run.name} needs its weights"
            )
            progress.say(f"{needed.name}: made again, and not taken, since {reason}")
            shutil.rmtree(workdir)


def _missing(settings: plan.Settings, out: pathlib.Path, run: plan.Run) -> list[plan.Call]:
    workdir = plan.workdir(out, run)
    return [call for call in plan.calls(settings, run) if not calls.is_done(workdir, call)]


def _is_trained(settings: plan.Settings, out: pathlib.Path, run: plan.Run) -> bool:
    return calls.is_done(plan.workdir(out, run), plan.calls(settings, run)[0])


def _make_run(settings: plan.Settings, out: pathlib.Path, run: plan.Run, label: str) -> bool:
    """Makes what is missing of a run; returns whether anything was."""
    workdir = plan.workdir(out, run)
    if calls.is_taken(workdir):
        progress.say(f"{label}: done on another machine")
        return False
    if run.start is not None:
        calls.start_from(workdir, plan.workdir(out, run.start))
    missing = _missing(settings, out, run)
    if not missing:
        progress.say(f"{label}: done already")
    for call in missing:
        progress.say(f"{label}: {call.name} begins, log in {workdir / calls.LOG}")
        begin = time.monotonic()
        calls.execute(workdir, call)
        progress.say(
            f"{label}: {call.name} took {progress.format_duration(time.monotonic() - begin)}"
        )
    return bool(missing)
