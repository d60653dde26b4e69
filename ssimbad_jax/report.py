"""The report of a run as a command, and the comparison of several runs in one page.

    python -m ssimbad_jax.report runs/a [runs/b ...] [--out=FILE]

One run's page goes to its workdir as `report.html`; a comparison goes to `report.html` in the
folder where the command is run, unless --out names another file.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from ssimbad_jax.stages import remote

_OUT = flags.DEFINE_string("out", None, "The page, an HTML file.")
remote.refuse_in_flags("out")


def main(argv: Sequence[str]) -> None:
    """Writes the page."""
    # Here, not above: they import jax, which takes seconds that --help would wait for.
    from ssimbad_jax.stages import failures, report
    from ssimbad_jax.training import progress

    if len(argv) < 2:
        raise app.UsageError("name the workdir of a run, or of several to compare them")
    logging.set_verbosity(logging.ERROR)
    try:
        remote.check("a run", list(argv[1:]))
    except flags.ValidationError as error:
        sys.exit(f"error: {error}")
    workdirs = [pathlib.Path(argument).expanduser() for argument in argv[1:]]
    out = _OUT.value
    path = pathlib.Path(out).expanduser() if out else report.default_path(workdirs)
    with failures.in_one_line():
        report.write(workdirs, path)
    progress.say(f"report: {path}")


if __name__ == "__main__":
    app.run(main)
