"""The flag --config of commands, with its overrides `--config.train.batch_size=8`."""

import sys
from collections.abc import Sequence

from absl import app, flags
from ml_collections import config_flags

from ssimbad_jax.stages import failures


def define() -> flags.FlagHolder:
    """Defines the flag, which has to be given, as a config file."""
    holder = config_flags.DEFINE_config_file("config", None, "The config, a Python file.")
    flags.mark_flag_as_required("config")
    return holder


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags; unknown fields and files end the program with one line.

    ml_collections names both, but with a traceback.
    """
    try:
        remaining = app.parse_flags_with_usage(list(argv))
        _ = flags.FLAGS.config.to_dict  # a file that was not found is an error at the first look
        return remaining
    except OSError as error:
        reason = str(error).splitlines()[-1].strip()
        sys.exit(
            f"error: --config cannot be loaded; name a file such as configs/quickstart.py: {reason}"
        )
    except (AttributeError, KeyError) as error:
        unknown, remedy = failures.unknown_field(error)
        given = [flag for flag in argv if unknown in flag.partition("=")[0].split(".")]
        if not given:
            raise
        sys.exit(f"error: {given[0]}: the config has no field {unknown!r}; {remedy}")
