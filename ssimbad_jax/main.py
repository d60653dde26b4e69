"""The main job: calibrate, train, refine, evaluate, report.

    python -m ssimbad_jax.main --config=configs/edm_ssimbad.py --config.data.dir=PICTURES

Every field of the config can be overridden: `--config.train.batch_size=8`.
"""

import pathlib
import re
import sys
from collections.abc import Sequence

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from ssimbad_jax.stages import failures, run
from ssimbad_jax.training import sharding

_CONFIG = config_flags.DEFINE_config_file("config", None, "The config, a Python file.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where everything is written; by default runs/<config name>."
)
_STAGES = flags.DEFINE_list(
    "stages",
    None,
    f"Which of {','.join(run.STAGES)}; by default all, refine only if config.refine.enabled.",
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed", False, "One process a host of a cluster or TPU pod: call jax.distributed."
)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the flags; unknown fields and files end the program with one line.

    ml_collections names both, but with a traceback.
    """
    try:
        remaining = app.parse_flags_with_usage(list(argv))
        _ = _CONFIG.value.to_dict  # a file that was not found is an error at the first look
        return remaining
    except OSError as error:
        reason = str(error).splitlines()[-1].strip()
        sys.exit(
            f"error: --config cannot be loaded; name a file such as configs/quickstart.py: {reason}"
        )
    except (AttributeError, KeyError) as error:
        unknown = re.findall(r"\w+", str(error.args[0]))[0]
        similar = re.findall(r'Did you mean "(\w+)"', str(error.args[0]))
        given = [flag for flag in argv if unknown in flag.partition("=")[0].split(".")]
        if not given:
            raise
        remedy = f"did you mean {similar[0]!r}?" if similar else "see configs/edm_ssimbad.py"
        sys.exit(f"error: {given[0]}: the config has no field {unknown!r}; {remedy}")


def main(argv: Sequence[str]) -> None:
    """Runs the stages."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    logging.set_verbosity(logging.FATAL)  # what libraries log as an error they raise, too
    config = _CONFIG.value
    if _DISTRIBUTED.value:
        jax.distributed.initialize()
    else:
        sharding.use_every_core_as_a_device(run.batch_sizes(config))
    config_file = config_flags.get_config_filename(flags.FLAGS["config"])
    config_name = pathlib.Path(config_file).stem
    workdir = pathlib.Path(_WORKDIR.value or pathlib.Path("runs") / config_name)
    with failures.in_one_line():
        run.run(config, workdir, _STAGES.value or run.default_stages(config), config_name)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    app.run(main, flags_parser=parse_flags)
