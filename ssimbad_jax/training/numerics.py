"""The settings that numbers depend on beside the config: jax's own, and XLA's options."""

import os
from typing import Any

import jax

from ssimbad_jax.training import progress

# Settings of jax that the user's shell could change, with other noise or another precision for the
# same config, and what every run has.
FIXED = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
}
# What stays as the user set it: numbers then differ by rounding alone.
_PRECISION = "jax_default_matmul_precision"
_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")


def settle() -> None:
    """Gives the settings of jax their fixed values; call it before anything is computed.

    Only after processes are joined and devices chosen, since to tell something starts jax.

    What the user had set otherwise is told, a line each, and so is a precision of products.
    """
    for name, value in FIXED.items():
        given = getattr(jax.config, name)
        if given != value:
            progress.say(f"{name.upper()}={given} is set aside: results are those of {value}")
            jax.config.update(name, value)
    if (precision := getattr(jax.config, _PRECISION)) is not None:
        progress.say(f"{_PRECISION.upper()}={precision} is used; without it results differ")


def record() -> dict[str, Any]:
    """Returns the settings as they are, for `run.json`."""
    names = (*FIXED, _PRECISION)
    variables = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    return {name: getattr(jax.config, name) for name in names} | variables
