"""Colours drawings like reference pictures, with a trained run.

    python -m ssimbad_jax.colorize --run=runs/x --sketch=DRAWINGS --reference=PICTURES --out=FOLDER

--sketch and --reference are files, folders or patterns such as 'drawings/*.png', and may be given
several times. One reference is for all sketches; several are paired with them by name. Results have
the sketches' own size. What is done already is skipped.

Exit status: 0 everything is done; 1 some failed and the others are done; 2 bad usage, nothing
was done.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from absl import app, flags, logging

from ssimbad_jax.data import line_art, picture_folder, sketch_pairs
from ssimbad_jax.stages import colorize, colorize_files, validation
from ssimbad_jax.training import progress, sharding

_RUN = flags.DEFINE_string("run", None, "Workdir of a trained run.")
_SKETCH = flags.DEFINE_multi_string("sketch", None, "Drawings: file, folder or pattern.")
_REFERENCE = flags.DEFINE_multi_string("reference", None, "Their colours: file, folder or pattern.")
_OUT = flags.DEFINE_string("out", None, "Folder for the results.")
_VARIANTS = flags.DEFINE_integer(
    "variants", 1, "Pictures of each sketch, from different noise.", lower_bound=1
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Of the noise.", lower_bound=0, upper_bound=validation.MAX_SEED
)
_SAMPLER = flags.DEFINE_enum(
    "sampler", None, validation.CHOICES["eval.sampler"], "By default the run's."
)
_STEPS = flags.DEFINE_integer("steps", None, "Of the sampler; by default the run's.", lower_bound=1)
_GRID_STEPS = flags.DEFINE_integer(
    "grid_steps", None, "Walk a sub-grid of a grid this long; 0: a fresh grid.", lower_bound=0
)
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "newest", validation.CHOICES["eval.checkpoint"], "Of the run."
)
_INVERT = flags.DEFINE_enum("invert", "auto", line_art.INVERT, "White lines on black paper.")
_LINES = flags.DEFINE_enum(
    "lines", "keep", colorize.LINES, "keep: the drawing's own lines; model: as the model draws."
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Colour again what is done.")
_JSON = flags.DEFINE_string("json", None, "File for a report that programs can read.")

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
        for name in ("run", "sketch", "reference", "out"):
            if not flags.FLAGS[name].value:
                raise flags.Error(f"--{name} is needed; see --help")
        return remaining
    except flags.Error as error:
        _refuse(error)


def main(argv: Sequence[str]) -> None:
    """Colours the sketches."""
    del argv
    logging.set_verbosity(logging.ERROR)
    out = pathlib.Path(_OUT.value).expanduser()
    settings = colorize.Settings(
        sampler=_SAMPLER.value,
        steps=_STEPS.value,
        grid_steps=_GRID_STEPS.value,
        checkpoint=_CHECKPOINT.value,
        seed=_SEED.value,
        variants=_VARIANTS.value,
        invert=_INVERT.value,
        lines=_LINES.value,
        overwrite=_OVERWRITE.value,
    )
    try:
        items, unused = sketch_pairs.find(_SKETCH.value, _REFERENCE.value, out)
        if len(items) * _VARIANTS.value > 1:
            sharding.use_every_core_as_a_device([])
        report = colorize.colorize(pathlib.Path(_RUN.value).expanduser(), items, out, settings)
        if unused:
            progress.say(f"colorize: no sketch has the name of {picture_folder.list_some(unused)}")
        if _JSON.value:
            report["unused_references"] = unused
            colorize_files.save_report(pathlib.Path(_JSON.value).expanduser(), report)
    except (ValueError, OSError) as error:
        _refuse(error)
    sys.exit(SOME_FAILED if any(item["status"] == "failed" for item in report["items"]) else 0)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
