"""Official PyTorch weights become a run that evaluate, refine, report and colorize take.

    python -m ssimbad_jax.torch_import --from=model.ckpt --out=runs/imported

The file is a checkpoint of SSIMBaD (Lightning), a `.pth` of AnimeDiffusion, or safetensors such as
`torch_export` writes. It is read without PyTorch, and nothing in it is executed. Sizes of the
network, noise levels and solver follow from the file; what it does not tell has the official value.
Any field can be set: `--config.model.num_heads=8`. From Python, `unet_params(state_dict, unet)`
turns arrays by their official names into the parameters of a `models.unet.UNet`.
"""

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from ssimbad_jax import choices, config_flag
from ssimbad_jax.configs import edm_ssimbad
from ssimbad_jax.stages import remote


def __getattr__(name: str) -> Any:
    """Returns `unet_params`, for use from Python, without importing jax for the command."""
    if name == "unet_params":
        from ssimbad_jax.models import official_unet

        return official_unet.unet_params
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _define_flags() -> None:
    """Defines the flags of the program, which `unet_params` alone comes without."""
    flags.DEFINE_string("from", None, "The file of weights.", required=True)
    flags.DEFINE_string("out", None, "Workdir to make.", required=True)
    flags.DEFINE_enum("method", "auto", choices.METHODS, "What the weights were trained with.")
    flags.DEFINE_enum(
        "weights", "auto", choices.WEIGHTS, "Whether they are refined; auto: as the file says."
    )
    flags.DEFINE_string(
        "prefix", None, "What stands before the names of the U-Net's entries, if there are several."
    )
    remote.refuse_in_flags("from", "out")
    # Only its overridden fields are used: the values that stay are those that the file tells.
    config_flags.DEFINE_config_dict("config", edm_ssimbad.get_config(), "Fields to set.")


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses the flags; unknown fields of the config end the program with one line."""
    try:
        _define_flags()  # here, since ml_collections looks at the command line at once
        remaining = app.parse_flags_with_usage(list(argv))
    except (AttributeError, KeyError) as error:
        unknown, remedy = config_flag.unknown_field(error)
        sys.exit(f"error: --config has no field {unknown!r}; {remedy}")
    if len(remaining) > 1:
        sys.exit(f"error: unexpected argument {remaining[1]!r}; flags start with --")
    return remaining


def main(argv: Sequence[str]) -> None:
    """Makes the run."""
    # Here, not above: they import jax, which takes seconds that --help would wait for.
    from ssimbad_jax.stages import failures, import_weights
    from ssimbad_jax.training import numerics

    del argv
    logging.set_verbosity(logging.FATAL)  # what libraries log as an error they raise, too
    numerics.settle()
    given = flags.FLAGS.flag_values_dict()
    with failures.in_one_line():
        import_weights.import_weights(
            pathlib.Path(given["from"]).expanduser(),
            pathlib.Path(given["out"]).expanduser(),
            overrides=config_flags.get_override_values(flags.FLAGS["config"]),
            method=given["method"],
            kind=given["weights"],
            prefix=given["prefix"],
        )


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
