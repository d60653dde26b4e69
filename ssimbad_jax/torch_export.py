"""Writes the weights of a run as safetensors that the official PyTorch network loads.

    python -m ssimbad_jax.torch_export --run=runs/x --out=model.safetensors

In PyTorch: `UNet(...).load_state_dict(safetensors.torch.load_file("model.safetensors"))`, with the
arguments that the command prints. `torch_import` makes a run of the file again.
"""

import pathlib
from collections.abc import Sequence

from absl import app, flags, logging

from ssimbad_jax import choices
from ssimbad_jax.stages import remote

_RUN = flags.DEFINE_string("run", None, "Workdir of a trained run.", required=True)
_OUT = flags.DEFINE_string("out", None, "The file to write.", required=True)
_WEIGHTS = flags.DEFINE_enum(
    "weights", "auto", choices.WEIGHTS, "Which; auto: refined ones where there are some."
)
remote.refuse_in_flags("run", "out")


def main(argv: Sequence[str]) -> None:
    """Writes the file."""
    # Here, not above: they import jax, which takes seconds that --help would wait for.
    from ssimbad_jax.stages import export_weights, failures
    from ssimbad_jax.training import numerics

    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    logging.set_verbosity(logging.ERROR)
    numerics.settle()
    with failures.in_one_line():
        export_weights.export_weights(
            pathlib.Path(_RUN.value).expanduser(),
            pathlib.Path(_OUT.value).expanduser(),
            _WEIGHTS.value,
        )


if __name__ == "__main__":
    app.run(main)
