"""Plans a training before it is started: cost, memory, time.

    python -m ssimbad_jax.plan --config=configs/edm_ssimbad.py --device=v5e-8

Compiles the steps of a config's training and refinement, with its overrides, and prints the
parameters, operations and memory traffic of a step, the memory on each device and the batch that
fits, the exchange of gradients, and how long the whole schedule takes on the device named: v5e-8,
h100x8, ...; cpu is this machine, where the training's plan is compared with measured steps. Nothing
is allocated but for that.
"""

from collections.abc import Sequence

from absl import app, flags, logging

from ssimbad_jax import config_flag
from ssimbad_jax.stages import hardware

PAPER_PICTURES = 31_696  # of the paper's training set

_CONFIG = config_flag.define()
_DEVICE = flags.DEFINE_string(
    "device", hardware.CPU, f"cpu, or a number of {', '.join(hardware.CHIPS)}, such as v5e-8."
)
_PICTURES = flags.DEFINE_integer(
    "pictures",
    PAPER_PICTURES,
    "Training pictures, which epochs are counted in; by default the paper's.",
    lower_bound=1,
)


def main(argv: Sequence[str]) -> None:
    """Prints the plan, line by line as it is made."""
    # Here, not above: they import jax, which takes seconds that --help would wait for.
    from ssimbad_jax.stages import failures, plan_run, run, validation
    from ssimbad_jax.training import numerics, progress, sharding

    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    logging.set_verbosity(logging.FATAL)  # what libraries log as an error they raise, too
    config = _CONFIG.value
    if _DEVICE.value == hardware.CPU:
        sharding.use_every_core_as_a_device(run.batch_sizes(config))
    numerics.settle()
    with failures.in_one_line():
        validation.check(config, num_devices=1)
        for line in plan_run.plan(config, _DEVICE.value, _PICTURES.value):
            progress.say(line)


if __name__ == "__main__":
    app.run(main, flags_parser=config_flag.parse)
