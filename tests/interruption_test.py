"""Signals: the first stops in good order, the second at once, and all hosts at the same step."""

import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from ssimbad_jax.stages import failures
from ssimbad_jax.training import interruption

_IMPORT = "import os, signal, sys, time; from ssimbad_jax.training import interruption\n"
# A long call into C during which Python runs no signal handler, like XLA's compilation.
_DEAF = (
    _IMPORT
    + """
import hashlib
with interruption.handled():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""
)
_COMPILES = """
import os
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""
import jax, jax.numpy as jnp
from ssimbad_jax.stages import failures

def long_to_compile(x):
    for number in range(150):
        x = jnp.sin(x @ x) + number
    return x

with failures.in_one_line():
    lowered = jax.jit(long_to_compile).lower(jnp.ones((8, 8)))
    print("ready", flush=True)
    lowered.compile()
    print("compiled", flush=True)
"""
_HOST = (
    _IMPORT
    + """
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
with interruption.handled(), interruption.deferred():
    step = 0
    while not interruption.is_requested(step):
        step += 1
        if step == 10:
            print("ready", flush=True)
        time.sleep(0.002)
    print(step, flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os._exit(0)  # the other host need not be waited for
"""
)


def _start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _wait_until_ready(process):
    for line in process.stdout:
        if line == "ready\n":
            return
    raise AssertionError(f"it ended with {process.wait()}")


@pytest.mark.parametrize("number", interruption.SIGNALS, ids=lambda number: number.name)
def test_a_signal_raises_where_the_program_stands(number, capfd):
    before = signal.getsignal(number)
    with pytest.raises(interruption.Interrupted, match=number.name):
        with interruption.handled():
            os.kill(os.getpid(), number)
            threading.Event().wait(5.0)
    assert signal.getsignal(number) is before
    assert "once more to stop at once" in capfd.readouterr().err


def test_a_deferred_signal_waits_to_be_asked_for():
    reached = []
    with pytest.raises(interruption.Interrupted), interruption.handled():
        with interruption.deferred():
            assert not interruption.is_requested(1)
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append(interruption.is_requested(2))
        reached.append("never")
    assert reached == [True]


def test_without_signals_nothing_happens():
    with interruption.handled(), interruption.deferred():
        assert not interruption.is_requested(1)


def test_a_signal_of_an_earlier_run_is_forgotten():
    with pytest.raises(interruption.Interrupted), interruption.handled():
        signal.raise_signal(signal.SIGTERM)
    with interruption.handled(), interruption.deferred():
        assert not interruption.is_requested(1)


def test_the_exit_status_tells_an_interruption_from_a_failure(capsys):
    with pytest.raises(SystemExit) as stopped, failures.in_one_line():
        raise interruption.Interrupted("stopped after a step", agreed=True)
    assert stopped.value.code == interruption.EXIT_STATUS == 75
    assert "Run the same command again to continue" in capsys.readouterr().out


def test_a_signal_while_xla_compiles_stops_in_good_order():
    with _start(_COMPILES) as process:
        _wait_until_ready(process)
        time.sleep(0.5)  # now it is inside the compiler
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read()
        assert "Run the same command again to continue" in said and "compiled" not in said
        assert process.wait(60) == interruption.EXIT_STATUS


def test_a_second_signal_ends_at_once_whatever_the_program_does():
    with _start(_DEAF) as process:
        _wait_until_ready(process)
        time.sleep(0.3)  # now it is inside the call
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 128 + signal.SIGINT


def test_all_hosts_stop_at_the_same_step():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    hosts = [_start(_HOST, address, str(index)) for index in range(2)]
    try:
        for host in hosts:
            _wait_until_ready(host)
        hosts[1].send_signal(signal.SIGTERM)
        steps = [int(host.communicate(timeout=60)[0].split()[-1]) for host in hosts]
    finally:
        for host in hosts:
            host.kill()
            host.wait()
    assert steps[0] == steps[1]
    assert steps[0] % interruption.STEPS_BETWEEN_AGREEMENTS == 0


class _DropsWhatIsRaised:
    """As XLA's callback of the garbage collector, which a signal may come into."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)


def test_a_signal_that_comes_where_python_drops_exceptions_stops_all_the_same():
    begin = time.monotonic()
    with pytest.raises(interruption.Interrupted), interruption.handled():
        _DropsWhatIsRaised()
        time.sleep(30)
    assert time.monotonic() - begin < 20
    with interruption.handled(), interruption.deferred():
        assert not interruption.is_requested(1)


def test_the_second_signal_is_counted_right_where_the_first_was_sent_again():
    code = (
        _IMPORT
        + inspect.getsource(_DropsWhatIsRaised)
        + """
with interruption.handled():
    try:
        _DropsWhatIsRaised()
        time.sleep(30)
    except interruption.Interrupted:
        print("ready", flush=True)
        time.sleep(30)
"""
    )
    with _start(code) as process:
        _wait_until_ready(process)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM
