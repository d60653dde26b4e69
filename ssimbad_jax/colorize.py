"""Colours drawings like reference pictures, with a trained run.

    python -m ssimbad_jax.colorize --run=runs/x --sketch=DRAWINGS --reference=PICTURES --out=FOLDER

--sketch and --reference are files, folders or patterns such as 'drawings/*.png', and may be given
several times. One reference is for all sketches; several are paired with them by name. Results have
the sketches' own size. What is done already is skipped.

Exit status: 0 everything is done; 1 some failed and the others are done; 2 bad usage, or a run that
cannot be used; 75 stopped by a signal, and the same command goes on.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from absl import app, flags, logging

from ssimbad_jax import choices, host_flags
from ssimbad_jax.stages import remote

_RUN = flags.DEFINE_string("run", None, "Workdir of a trained run.", required=True)
_SKETCH = flags.DEFINE_multi_string(
    "sketch", None, "Drawings: file, folder or pattern.", required=True
)
_REFERENCE = flags.DEFINE_multi_string(
    "reference", None, "Their colours: file, folder or pattern.", required=True
)
_OUT = flags.DEFINE_string("out", None, "Folder for the results.", required=True)
_JSON = flags.DEFINE_string("json", None, "File for a report that programs can read.")
# The following are the fields of `colorize_jobs.Settings`.
flags.DEFINE_integer("variants", 1, "Pictures of each sketch, from different noise.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of the noise.", lower_bound=0, upper_bound=choices.MAX_SEED)
flags.DEFINE_enum("sampler", None, choices.SAMPLERS, "By default the run's.")
flags.DEFINE_integer("steps", None, "Of the sampler; by default the run's.", lower_bound=1)
flags.DEFINE_integer(
    "grid_steps", None, "Walk a sub-grid of a grid this long; 0: a fresh grid.", lower_bound=0
)
flags.DEFINE_float(
    "start_sigma",
    None,
    "Start from the re-noised posterior mean: the smaller, the more faithful and blurred; "
    "0: from pure noise. By default the run's.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "posterior_draws", None, "Network calls that this mean averages.", lower_bound=1
)
flags.DEFINE_float("eta", None, "Share of fresh noise, for ddim.", lower_bound=0, upper_bound=1)
flags.DEFINE_enum("checkpoint", "newest", choices.CHECKPOINTS, "Of the run.")
flags.DEFINE_enum("invert", "auto", choices.INVERT, "White lines on black paper.")
flags.DEFINE_enum("lines", "keep", choices.LINES, "The drawing's own, or the model's.")
flags.DEFINE_integer("batch_size", None, "Sampled at once; by default the run's.", lower_bound=1)
flags.DEFINE_bool("overwrite", False, "Colour again what is done.")
flags.DEFINE_float(
    "guidance_sketch", None, "Classifier-free scale, 1: off; by default the run's.", lower_bound=0
)
flags.DEFINE_float("guidance_reference", None, "The same of the reference.", lower_bound=0)
flags.DEFINE_float(
    "guidance_structure",
    None,
    "Pull of the sketch's lines; 0: off, 0.5: strong.",
    lower_bound=0,
)
remote.refuse_in_flags("run", "sketch", "reference", "out", "json")

_HOSTS = host_flags.define()

SOME_FAILED, BAD_USAGE = 1, 2


def _refuse(error: object) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(BAD_USAGE)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the flags; what is wrong with them ends the program with one line."""
    try:
        remaining = flags.FLAGS(list(argv))
        if len(remaining) > 1:
            raise flags.Error(f"unexpected argument {remaining[1]!r}; flags start with --")
        return remaining
    except flags.Error as error:
        _refuse("; ".join(str(error).splitlines()))


def main(argv: Sequence[str]) -> None:
    """Colours the sketches."""
    # Here, not above: they import jax, which takes seconds that --help would wait for.
    from ssimbad_jax.stages import failures

    del argv
    logging.set_verbosity(logging.ERROR)
    is_one_of_several = host_flags.connect(_HOSTS)
    with failures.in_one_line():
        report = _colorize(is_one_of_several)
    sys.exit(SOME_FAILED if any(item["status"] == "failed" for item in report["items"]) else 0)


def _colorize(is_one_of_several: bool) -> dict[str, Any]:
    import jax

    from ssimbad_jax import wording
    from ssimbad_jax.data import sketch_pairs
    from ssimbad_jax.stages import colorize, colorize_files, colorize_jobs
    from ssimbad_jax.training import checkpoint, numerics, progress, sharding

    out = pathlib.Path(_OUT.value).expanduser()
    names = [field.name for field in dataclasses.fields(colorize_jobs.Settings)]
    given: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
    settings = colorize_jobs.Settings(**given)
    report_file = pathlib.Path(_JSON.value).expanduser() if _JSON.value else None
    try:
        if report_file is not None:
            report_file.parent.mkdir(parents=True, exist_ok=True)
        items, unused = sketch_pairs.find(_SKETCH.value, _REFERENCE.value, out)
        if len(items) * settings.variants > 1 and not is_one_of_several:
            sharding.use_every_core_as_a_device([])
        numerics.settle()
        report = colorize.colorize(pathlib.Path(_RUN.value).expanduser(), items, out, settings)
        if unused:
            progress.say(f"colorize: no sketch has the name of {wording.list_some(unused)}")
        if report_file is not None and jax.process_index() == 0:
            colorize_files.save_report(report_file, {**report, "unused_references": unused})
        return report
    except (ValueError, OSError, checkpoint.DamagedError) as error:
        _refuse(error)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _refuse("the memory of the device is too small; lower --batch_size")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
