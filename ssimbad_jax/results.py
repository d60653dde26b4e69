"""The table of results by one command: trains and scores every row, and writes the table.

    python -m ssimbad_jax.results --data=PICTURES --pairs=PAIRS.npz --out=results

RESULTS.md has the numbers, results.json the same for programs, results.html the pictures as well,
and runs/ a run for each row and seed. It takes many hours and can be stopped at any time: the same
command goes on. With --take=results.json of another machine, what that has made is not made again.
A row that fails is reported, and the others are made; the exit status is 1 then.
"""

import pathlib
import re
import shlex
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from ssimbad_jax.stages import remote
from ssimbad_jax.stages.tabulating import rows

_OUT = flags.DEFINE_string("out", "results", "Folder of the results.")
_TABLE_ONLY = flags.DEFINE_bool("table_only", False, "Make no runs, write what is there.")
# The following are the fields of `plan.Settings`.
_SCALE = flags.DEFINE_enum("scale", "s32", list(rows.SCALES), "Size of the runs.")
_DATA = flags.DEFINE_string("data", "", "Folder of pictures; by default the built-in faces.")
_PAIRS = flags.DEFINE_string("pairs", "", "Evaluation pairs, .npz; by default of the test split.")
_ROWS = flags.DEFINE_list(
    "rows", list(rows.ROWS), "Which rows; those that they start from are made, too."
)
_SEEDS = flags.DEFINE_integer("seeds", 0, "Runs of each row; by default 2 or 1, as the row says.")
_CHANGES = flags.DEFINE_multi_string(
    "set", [], "A field of the configs of all rows, such as train.steps=200; may be repeated."
)
_TAKE = flags.DEFINE_list("take", [], "results.json of other machines, whose numbers are used.")
remote.refuse_in_flags("out", "data", "pairs")


def main(argv: Sequence[str]) -> None:
    """Makes the table."""
    # Here, not above: jax takes seconds that --help would wait for.
    import jax

    from ssimbad_jax.stages import failures, tabulate
    from ssimbad_jax.stages.tabulating import plan
    from ssimbad_jax.training import progress

    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    logging.set_verbosity(logging.FATAL)  # what libraries log as an error they raise, too
    # The accelerators are for the runs, which are processes of their own.
    jax.config.update("jax_platforms", "cpu")
    out = pathlib.Path(_OUT.value).expanduser()
    with failures.in_one_line():
        settings = plan.Settings(
            scale=_SCALE.value,
            data=_DATA.value,
            pairs=_PAIRS.value,
            rows=_ROWS.value,
            seeds=_SEEDS.value,
            changes=_CHANGES.value,
        )
        taken = [pathlib.Path(path).expanduser() for path in _TAKE.value]
        failed: list[str] = []
        if _TABLE_ONLY.value:
            tabulate.write_what_is_there(out, taken)
        else:
            failed = tabulate.make(settings, out, command_of(sys.argv[1:]), taken)
    progress.say(f"results: {out / tabulate.MARKDOWN} and {out / tabulate.PAGE}")
    if failed:
        sys.exit(f"error: {len(failed)} runs failed: {', '.join(failed)}; see above for the reason")


def command_of(arguments: Sequence[str]) -> str:
    """Returns a command as text, without the folders in which things lie on this machine."""
    given = [re.sub("(^|=)[^=]*/", r"\1", argument.rstrip("/")) for argument in arguments]
    return shlex.join(["python", "-m", "ssimbad_jax.results", *given])


if __name__ == "__main__":
    app.run(main)
