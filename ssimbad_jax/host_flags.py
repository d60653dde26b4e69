"""The flags by which a process becomes one of several that are one run."""

import sys
from typing import NamedTuple

from absl import flags

flags.disclaim_key_flags()  # --help of a command lists the flags that it has from here as its own

CONNECT_TIMEOUT, HEARTBEAT_TIMEOUT = 300, 100  # seconds


class HostFlags(NamedTuple):
    """See `define`."""

    distributed: flags.FlagHolder
    coordinator: flags.FlagHolder
    processes: flags.FlagHolder
    process_id: flags.FlagHolder
    connect_timeout: flags.FlagHolder
    heartbeat_timeout: flags.FlagHolder


def define() -> HostFlags:
    """Defines the flags."""
    return HostFlags(
        distributed=flags.DEFINE_bool(
            "distributed",
            False,
            "One of several processes that are one run: on a TPU pod, in SLURM or Kubernetes, or "
            "with --coordinator, --processes and --process_id.",
        ),
        coordinator=flags.DEFINE_string(
            "coordinator", None, "host:port of process 0; by default $JAX_COORDINATOR_ADDRESS."
        ),
        processes=flags.DEFINE_integer(
            "processes", None, "How many there are; by default $JAX_NUM_PROCESSES."
        ),
        process_id=flags.DEFINE_integer(
            "process_id", None, "Which one this is, from 0; by default $JAX_PROCESS_ID."
        ),
        connect_timeout=flags.DEFINE_integer(
            "connect_timeout",
            CONNECT_TIMEOUT,
            "Seconds to wait until all processes have started.",
            lower_bound=1,
        ),
        heartbeat_timeout=flags.DEFINE_integer(
            "heartbeat_timeout",
            HEARTBEAT_TIMEOUT,
            "Seconds after which a silent process counts as dead, which ends the others.",
            lower_bound=10,
        ),
    )


def connect(given: HostFlags) -> bool:
    """Joins the other processes if --distributed is given; call it before jax starts.

    What is wrong ends the program with one line.

    Returns:
        Whether this is one of several processes.
    """
    if not given.distributed.value:
        return False
    from ssimbad_jax.training import hosts  # not for --help: it imports jax

    try:
        place = hosts.Place.of_environment(
            given.coordinator.value, given.processes.value, given.process_id.value
        )
        hosts.connect(
            place, hosts.Patience(given.connect_timeout.value, given.heartbeat_timeout.value)
        )
    except hosts.ClusterError as error:
        sys.exit(f"error: {error}")
    return True
