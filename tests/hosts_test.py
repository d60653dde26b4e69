"""Finding the other processes of a run, or saying in bounded time that they are not there."""

import os
import subprocess
import sys
import time

import pytest

from ssimbad_jax.training import hosts
from tests import processes, program

_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_CONNECT = """
import sys
from ssimbad_jax.training import hosts
number = int(sys.argv[2]) if sys.argv[2] else None
place = hosts.Place(sys.argv[1] or None, 2 if sys.argv[1] else None, number)
hosts.connect(place, hosts.Patience(connect=2, heartbeat=10))
"""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """The tests may run where a launcher has set them."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_flags_come_before_the_launchers_variables(monkeypatch):
    for name, value in zip(_VARIABLES, ("a:1", "4", "3"), strict=True):
        monkeypatch.setenv(name, value)
    assert hosts.Place.of_environment(None, None, None) == hosts.Place("a:1", 4, 3)
    assert hosts.Place.of_environment("b:2", 2, 0) == hosts.Place("b:2", 2, 0)


def test_without_flags_and_variables_jax_has_to_find_all():
    assert hosts.Place.of_environment(None, None, None) == hosts.Place()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (("nowhere", 2, 0), r"--coordinator is 'nowhere'; give host and port"),
        (("a:1", 0, 0), r"--processes is 0; set it to 1 or more"),
        (("a:1", 2, 2), r"--process_id is 2; number the --processes=2 from 0"),
        (("a:1", 2, -1), r"--process_id is -1; number the --processes=2 from 0"),
        ((None, None, -1), r"--process_id is -1; number the processes from 0"),
    ],
)
def test_places_that_cannot_be_are_refused(place, message):
    with pytest.raises(hosts.ClusterError, match=message):
        hosts.Place.of_environment(*place)


@pytest.mark.parametrize(
    ("variables", "place", "message"),
    [
        (("nowhere", "2", "0"), (None, None, None), r"JAX_COORDINATOR_ADDRESS is 'nowhere'; give"),
        (("a:1", "0", "0"), ("", None, None), r"JAX_NUM_PROCESSES is 0; set"),
        (
            ("a:1", "2", "2"),
            (None, None, None),
            r"JAX_PROCESS_ID is 2; number the JAX_NUM_PROCESSES=2 from 0",
        ),
        (
            ("a:1", "2", "3"),
            (None, 3, None),
            r"JAX_PROCESS_ID is 3; number the --processes=3 from 0",
        ),
    ],
)
def test_what_is_wrong_is_named_after_what_gave_it(variables, place, message, monkeypatch):
    for name, value in zip(_VARIABLES, variables, strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(hosts.ClusterError, match=f"^{message}"):
        hosts.Place.of_environment(*place)


def test_a_variable_that_is_no_number_is_named(monkeypatch):
    monkeypatch.setenv("JAX_PROCESS_ID", "first")
    with pytest.raises(hosts.ClusterError, match="JAX_PROCESS_ID is 'first'"):
        hosts.Place.of_environment("a:1", 2, None)


def test_alone_nothing_is_a_lost_process():
    assert not hosts.has_others()
    assert not hosts.is_lost_process(ValueError("UNKNOWN: Gloo AllGather failed"))


@pytest.mark.parametrize("together", [False, True])
def test_alone_leaving_is_an_ordinary_exit(together):
    with pytest.raises(SystemExit) as left:
        hosts.leave("error: a", together)
    assert left.value.code == "error: a"


def test_whoever_waits_in_vain_ends_with_one_line():
    """The coordinator without its peer, a peer without coordinator, and no cluster at all."""
    address, nowhere = processes.free_address(), processes.free_address()
    environment = {n: v for n, v in os.environ.items() if not n.startswith("SLURM")}
    begin = time.monotonic()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _CONNECT, *arguments],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            cwd=program.REPOSITORY,
        )
        for arguments in ((address, "0"), (nowhere, "1"), ("", ""))
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert time.monotonic() - begin < 100
    assert [process.returncode for process in started] == [1, 1, 1]
    for number, where in ((0, address), (1, nowhere)):
        assert (
            f"error: Process {number} of 2 has not met all others at {where} within 2 s"
            in (said[number])
        )
        assert "Traceback" not in said[number] and "stack trace" not in said[number]
    assert "ClusterError: --distributed finds no cluster" in said[2]
