"""Compares samplers, sigma grids and numbers of network calls on a trained run.

    python -m ssimbad_jax.study --run=runs/x --pairs=PAIRS.npz [--out=FOLDER]

Colours the same pictures from the same noise with every sampler on every grid, and scores them:
study.md is the table, study.png the figure, study.csv and study.jsonl are for programs. A study
that is stopped goes on with the same command, and one with more --calls or --samplers adds to it.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from absl import app, flags, logging

from ssimbad_jax import choices
from ssimbad_jax.stages import remote

_RUN = flags.DEFINE_string("run", None, "Workdir of a trained run.", required=True)
_PAIRS = flags.DEFINE_string("pairs", "", "Evaluation pairs, .npz; by default the run's own.")
_OUT = flags.DEFINE_string("out", None, "Folder for the results; by default `study` in the run.")
# The following are the fields of `plan.Settings`.
_SAMPLERS = flags.DEFINE_list("samplers", list(choices.SAMPLERS), "What walks the grids.")
_GRIDS = flags.DEFINE_list(
    "grids",
    ["rational", "best", "table", "edm", "sub_grid"],
    "rational: the run's c; best and table: of its calibration; edm: rho = 7; sub_grid: of a "
    "50-step grid of the run's own.",
)
_SIGMA_MAX = flags.DEFINE_list(
    "sigma_max", [], "Where walks start, such as 80,5; by default the run's own and a 16th of it."
)
_CALLS = flags.DEFINE_list("calls", "1 2 3 5 7 10 15 20 30 50".split(), "Network calls a picture.")
_IMAGES = flags.DEFINE_integer("images", 64, "Pictures, the first of the pairs.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Sampled at once.")
remote.refuse_in_flags("run", "pairs", "out")

_Number = TypeVar("_Number", int, float)


def main(argv: Sequence[str]) -> None:
    """Runs the study."""
    # Here, not above: jax takes seconds that --help would wait for.
    import jax

    from ssimbad_jax.stages import failures, sampling_study
    from ssimbad_jax.stages.studying import plan
    from ssimbad_jax.training import numerics, sharding

    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    logging.set_verbosity(logging.FATAL)  # what libraries log as an error they raise, too
    workdir = pathlib.Path(_RUN.value).expanduser()
    out = pathlib.Path(_OUT.value).expanduser() if _OUT.value else workdir / "study"
    with failures.in_one_line():
        settings = plan.Settings(
            samplers=_SAMPLERS.value,
            grids=_GRIDS.value,
            sigma_max=_numbers("sigma_max", _SIGMA_MAX.value, float),
            calls=_numbers("calls", _CALLS.value, int),
            images=_IMAGES.value,
            batch_size=_BATCH_SIZE.value,
        )
        sharding.use_every_core_as_a_device([])
        numerics.settle()
        try:
            sampling_study.study(workdir, out, settings, _PAIRS.value)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise MemoryError("the device's memory is too small; lower --batch_size") from error


def _numbers(flag: str, texts: Sequence[str], convert: Callable[[str], _Number]) -> list[_Number]:
    try:
        return [convert(text) for text in texts]
    except ValueError as error:
        raise ValueError(f"--{flag} is {','.join(texts)!r}; name numbers, such as 1,5") from error


if __name__ == "__main__":
    app.run(main)
