"""The report of a run as a command, and the comparison of several runs in one page.

    python -m ssimbad_jax.report runs/a [runs/b ...] [--out=FILE]

One run's page goes to its workdir as `report.html`; a comparison goes to `report.html` in the
folder where the command is run, unless --out names another file.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from ssimbad_jax.stages import report
from ssimbad_jax.training import progress

_OUT = flags.DEFINE_string("out", None, "The page, an HTML file.")


def page_path(workdirs: Sequence[pathlib.Path], out: str | None) -> pathlib.Path:
    """Returns where the page goes: to `out`, or else to the one run, or to the current folder."""
    if out:
        return pathlib.Path(out).expanduser()
    return (workdirs[0] if len(workdirs) == 1 else pathlib.Path()) / report.RESULT


def main(argv: Sequence[str]) -> None:
    """Writes the page."""
    if len(argv) < 2:
        raise app.UsageError("name the workdir of a run, or of several to compare them")
    logging.set_verbosity(logging.ERROR)
    workdirs = [pathlib.Path(argument).expanduser() for argument in argv[1:]]
    path = page_path(workdirs, _OUT.value)
    try:
        report.write(workdirs, path)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    progress.say(f"report: {path}")


if __name__ == "__main__":
    app.run(main)
