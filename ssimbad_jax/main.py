"""The main job: calibrate, train, refine, evaluate, report.

    python -m ssimbad_jax.main --config=configs/edm_ssimbad.py --config.data.dir=PICTURES

Every field of the config can be overridden: `--config.train.batch_size=8`.
"""

import pathlib
import sys
from collections.abc import Sequence

from absl import app, flags, logging
from ml_collections import config_flags

from ssimbad_jax import config_flag
from ssimbad_jax.stages import failures, run
from ssimbad_jax.training import hosts, sharding

_CONFIG = config_flag.define()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where everything is written; by default runs/<config name>."
)
_STAGES = flags.DEFINE_list(
    "stages",
    None,
    f"Which of {','.join(run.STAGES)}; by default all, refine only if config.refine.enabled.",
)
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "One of several processes that are one run: on a TPU pod, in SLURM or Kubernetes, or with "
    "--coordinator, --processes and --process_id.",
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "host:port of process 0; by default $JAX_COORDINATOR_ADDRESS."
)
_PROCESSES = flags.DEFINE_integer(
    "processes", None, "How many there are; by default $JAX_NUM_PROCESSES."
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Which one this is, from 0; by default $JAX_PROCESS_ID."
)
_CONNECT_TIMEOUT = flags.DEFINE_integer(
    "connect_timeout", hosts.Patience.connect, "Seconds to wait for all processes.", lower_bound=1
)
_HEARTBEAT_TIMEOUT = flags.DEFINE_integer(
    "heartbeat_timeout",
    hosts.Patience.heartbeat,
    "Seconds after which a silent process counts as dead, which ends the others.",
    lower_bound=10,
)


def main(argv: Sequence[str]) -> None:
    """Runs the stages."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    logging.set_verbosity(logging.FATAL)  # what libraries log as an error they raise, too
    config = _CONFIG.value
    if _DISTRIBUTED.value:
        _connect()
    else:
        sharding.use_every_core_as_a_device(run.batch_sizes(config))
    config_file = config_flags.get_config_filename(flags.FLAGS["config"])
    config_name = pathlib.Path(config_file).stem
    workdir = pathlib.Path(_WORKDIR.value or pathlib.Path("runs") / config_name)
    with failures.in_one_line():
        run.run(config, workdir, _STAGES.value or run.default_stages(config), config_name)


def _connect() -> None:
    try:
        place = hosts.Place.of_environment(_COORDINATOR.value, _PROCESSES.value, _PROCESS_ID.value)
        hosts.connect(place, hosts.Patience(_CONNECT_TIMEOUT.value, _HEARTBEAT_TIMEOUT.value))
    except hosts.ClusterError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app.run(main, flags_parser=config_flag.parse)
