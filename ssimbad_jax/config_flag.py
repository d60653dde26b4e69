"""The flag --config of commands, with its overrides `--config.train.batch_size=8`."""

import re
import sys
from collections.abc import Sequence

from absl import app, flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", None, "The config, a Python file.")
flags.mark_flag_as_required("config")


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the flags; unknown fields and files end the program with one line.

    ml_collections names both, but with a traceback.
    """
    try:
        remaining = app.parse_flags_with_usage(list(argv))
        _ = CONFIG.value.to_dict  # a file that was not found is an error at the first look
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
