"""The table of results: every row trained, scored and set beside the others.

pictures + configs -> runs/*, RESULTS.md, results.html, figures/*.png

Each run is a folder of its own, made by calls of main. What was interrupted is continued, what is
done is left alone, and a row that fails does not stop the others.
"""

import pathlib
import time

from ssimbad_jax.stages.tabulating import calls, page, plan, results
from ssimbad_jax.training import progress

COMMANDS = "commands.txt"
MARKDOWN, PAGE = page.MARKDOWN, page.PAGE


def make(settings: plan.Settings, out: pathlib.Path, command: str) -> list[str]:
    """Makes all runs, and writes the table after each of them.

    Args:
        settings: what to make.
        out: folder of the results; made if it does not exist.
        command: that was given, which the page names.

    Returns:
        The names of the runs that failed or could not be started.

    Raises:
        ValueError: the settings cannot work; nothing was run.
        FileNotFoundError: a folder or file that they name does not exist; nothing was run.
        OSError: the results cannot be written.
        Interrupted: a signal asked to stop; the same call continues.
    """
    plan.check(settings)
    _note_command(out, command)
    runs = plan.runs(settings)
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


def write(out: pathlib.Path) -> None:
    """Writes table, figures and page of the runs that are there.

    Args:
        out: folder of the results.

    Raises:
        OSError: they cannot be written.
    """
    page.write(out, results.read(out), _commands(out))


def _commands(out: pathlib.Path) -> list[str]:
    """Returns the commands that made the runs."""
    path = out / COMMANDS
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _note_command(out: pathlib.Path, command: str) -> None:
    commands = dict.fromkeys([*_commands(out), command])
    out.mkdir(parents=True, exist_ok=True)
    (out / COMMANDS).write_text("\n".join(commands) + "\n", encoding="utf-8")


def _is_trained(settings: plan.Settings, out: pathlib.Path, run: plan.Run) -> bool:
    return calls.is_done(plan.workdir(out, run), plan.calls(settings, run)[0])


def _make_run(settings: plan.Settings, out: pathlib.Path, run: plan.Run, label: str) -> bool:
    """Makes what is missing of a run; returns whether anything was."""
    workdir = plan.workdir(out, run)
    if run.start is not None:
        calls.start_from(workdir, plan.workdir(out, run.start))
    missing = [call for call in plan.calls(settings, run) if not calls.is_done(workdir, call)]
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
