"""The numbers of finished runs in one small file, so that several machines can share a table.

results.json holds, of each run, the files that the table is made of: no pictures and no weights.
"""

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from ssimbad_jax.stages import report, run_record
from ssimbad_jax.stages.reporting import run_files
from ssimbad_jax.stages.tabulating import calls, plan

FILE = "results.json"
_WHOLE = (run_files.CONFIG, run_record.RESULT, calls.DONE)
_LAST_LINE = (run_files.LOG, run_files.REFINEMENT_LOG)
_RUN = re.compile(r"[a-z0-9_]+_seed\d+")
_SCORES = re.compile(rf"eval_[a-z0-9_]+/{re.escape(run_files.SCORES)}")


def write(out: pathlib.Path, commands: list[str]) -> None:
    """Writes the numbers of the runs below a folder.

    Args:
        out: folder of the results.
        commands: that made them.

    Raises:
        OSError: the file cannot be written.
    """
    folders = sorted(path for path in (out / plan.RUNS).glob("*") if _RUN.fullmatch(path.name))
    runs = {folder.name: dict(_files(folder)) for folder in folders if is_finished(folder)}
    content = {"commands": commands, "runs": runs}
    report.write_at_once(out / FILE, json.dumps(content, indent=1, sort_keys=True) + "\n")


def take(path: pathlib.Path, out: pathlib.Path) -> list[str]:
    """Puts the numbers of another machine's runs into a folder of results, where it has none.

    Args:
        path: results.json of the other machine.
        out: folder of the results here.

    Returns:
        The commands that made them.

    Raises:
        ValueError: it is no such file.
        OSError: it cannot be read, or the folder cannot be written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        runs, commands = content["runs"], [str(command) for command in content["commands"]]
        for name, files in runs.items():
            _check(name, files)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"--take is {str(path)!r}, which is not what this command writes ({error}); name a "
            f"{FILE} of another folder of results"
        ) from error
    for name, files in runs.items():
        workdir = out / plan.RUNS / name
        if workdir.exists():
            continue
        # The mark first: without it the folder would be taken for an interrupted run.
        for file, value in {calls.TAKEN: {"from": path.name}, **files}.items():
            target = workdir / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(json.dumps(value) + "\n", encoding="utf-8")
    return commands


def is_finished(workdir: pathlib.Path) -> bool:
    """Tells whether a run has been trained, or refined, to its end."""
    return bool({"train", "refine"} & calls.done(workdir).keys())


def _files(folder: pathlib.Path) -> Iterator[tuple[str, Any]]:
    """Yields what the table is made of, by path inside of the run."""
    scores = [folder / name / run_files.SCORES for name in calls.done(folder)]
    for path in (*(folder / name for name in _WHOLE), *scores):
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            yield path.relative_to(folder).as_posix(), _without_folders(content)
    for name in _LAST_LINE:
        if (folder / name).is_file():
            *_, last = (folder / name).read_text(encoding="utf-8").splitlines()
            yield name, json.loads(last)


def _check(name: str, files: dict[str, Any]) -> None:
    if not _RUN.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a run")
    for file, content in files.items():
        if file not in (*_WHOLE, *_LAST_LINE) and not _SCORES.fullmatch(file):
            raise ValueError(f"{name} has a file {file!r}")
        if not isinstance(content, dict):
            raise ValueError(f"{file} of {name} is no object")


def _without_folders(value: Any) -> Any:
    """Returns JSON in which files have names, but no places on this machine's disks."""
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    if isinstance(value, str) and value.startswith(("/", "~", ".")):
        return value.replace("\\", "/").rstrip("/").rpartition("/")[-1]
    return value
