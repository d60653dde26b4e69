"""Several processes as one run: finding each other, and leaving.

Each process is a host with its own devices. Whoever waits for another waits a bounded time: to
meet, for `Patience.connect` seconds; for a process that died, until it has missed its heartbeats.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

import jax

# What collectives and the coordination service say when a process at the other end is gone.
_SIGNS_OF_A_LOST_PROCESS = (
    "Gloo",
    "NCCL",
    "UNAVAILABLE",
    "heartbeat",
    "coordination service",
    "Connection reset by peer",
)
# What launchers set for JAX, by the fields of `Place`.
_VARIABLES = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "processes": "JAX_NUM_PROCESSES",
    "process_id": "JAX_PROCESS_ID",
}
_MORE_PATIENCE = 60  # of jax, which would end the process with a stack trace


class ClusterError(RuntimeError):
    """The processes of a run cannot find each other."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Which process this is; what is None is found by jax, on a TPU pod, in SLURM or Kubernetes.

    Attributes:
        coordinator: `host:port` of process 0.
        processes: their number.
        process_id: this one's number, from 0.
    """

    coordinator: str | None = None
    processes: int | None = None
    process_id: int | None = None

    @classmethod
    def of_environment(
        cls, coordinator: str | None, processes: int | None, process_id: int | None
    ) -> "Place":
        """Fills in what is None from the variables that launchers set for JAX.

        They are JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.

        Raises:
            ClusterError: a variable is no number, or the three do not fit together.
        """
        place = cls(
            coordinator or os.environ.get(_VARIABLES["coordinator"]),
            _number(_VARIABLES["processes"]) if processes is None else processes,
            _number(_VARIABLES["process_id"]) if process_id is None else process_id,
        )
        is_flag = {
            "coordinator": bool(coordinator),
            "processes": processes is not None,
            "process_id": process_id is not None,
        }
        place._check({n: f"--{n}" if is_flag[n] else _VARIABLES[n] for n in is_flag})
        return place

    def _check(self, sources: dict[str, str]) -> None:
        """Refuses what cannot be; `sources` are the flags or variables that gave the fields."""
        if self.coordinator and not self.coordinator.rpartition(":")[2].isdigit():
            raise ClusterError(
                f"{sources['coordinator']} is {self.coordinator!r}; give host and port, such as "
                "10.0.0.1:1234"
            )
        if self.processes is not None and self.processes < 1:
            raise ClusterError(f"{sources['processes']} is {self.processes}; set it to 1 or more")
        if self.process_id is not None and not 0 <= self.process_id < (self.processes or 1 << 30):
            number = f"{sources['processes']}={self.processes}" if self.processes else "processes"
            raise ClusterError(
                f"{sources['process_id']} is {self.process_id}; number the {number} from 0"
            )


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait for others, in seconds.

    Attributes:
        connect: until all processes have started.
        heartbeat: until one that says nothing counts as dead, which ends the others.
    """

    connect: int
    heartbeat: int


def connect(place: Place, patience: Patience) -> None:
    """Joins the processes of a run; call it before jax starts its backends.

    A process that waits for the others in vain ends with one line and status 1.

    Args:
        place: which process this is.
        patience: how long to wait.

    Raises:
        ClusterError: there is no cluster.
    """
    with _ends_after(patience.connect, place):
        try:
            jax.distributed.initialize(
                place.coordinator,
                place.processes,
                place.process_id,
                initialization_timeout=patience.connect + _MORE_PATIENCE,
                heartbeat_timeout_seconds=patience.heartbeat,
                shutdown_timeout_seconds=patience.heartbeat,
            )
        except (ValueError, RuntimeError) as error:
            # Raised before anything is connected: what jax needs is nowhere to be found.
            raise ClusterError(
                f"--distributed finds no cluster ({error}). TPU pods, SLURM and Kubernetes are "
                "found by themselves; elsewhere give each process --coordinator=HOST:PORT, "
                "--processes and --process_id. On a single machine leave --distributed away"
            ) from error


def has_others() -> bool:
    """Returns whether this is one of several processes; starts no backend, as jax's count does."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_lost_process(error: BaseException) -> bool:
    """Returns whether an error says that another process of this run is gone."""
    return has_others() and any(sign in str(error) for sign in _SIGNS_OF_A_LOST_PROCESS)


def leave(status: int | str, together: bool = False) -> NoReturn:
    """Ends this process, like `sys.exit`.

    Args:
        status: exit status, or a line for stderr.
        together: all processes leave now, and wait for each other. Otherwise this one goes at
            once: the others may be waiting for it somewhere else.

    Raises:
        SystemExit: this is the only process, or all leave.
    """
    if together or not has_others():
        sys.exit(status)
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    leave_at_once(status)


def leave_at_once(status: int) -> NoReturn:
    """Ends this process without unwinding the interpreter, and the processes it started."""
    for process in multiprocessing.active_children():
        process.terminate()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextlib.contextmanager
def _ends_after(seconds: int, place: Place) -> Iterator[None]:
    """Ends the process if what is inside takes longer; it could not be interrupted."""

    def end() -> None:
        others = f" of {place.processes}" if place.processes else ""
        me = "This process" if place.process_id is None else f"Process {place.process_id}{others}"
        where = f" at {place.coordinator}" if place.coordinator else ""
        sys.stderr.write(
            f"error: {me} has not met all others{where} within {seconds} s; start the missing "
            "ones, check that they reach the coordinator, or raise --connect_timeout\n"
        )
        sys.stderr.flush()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise ClusterError(f"{variable} is {text!r}; it has to be a whole number") from None
