"""SIGTERM and Ctrl-C: stop in good order, with an exit status that says "run it again".

The first signal raises `Interrupted` where the program stands, or, in `deferred`, waits to be asked
for: the training loop finishes its step and saves. A second signal ends the process at once.
"""

import contextlib
import functools
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ssimbad_jax.training import sharding

# EX_TEMPFAIL of sysexits.h: a temporary failure, the same command may be tried again.
EXIT_STATUS = 75
SIGNALS = (signal.SIGINT, signal.SIGTERM)
STEPS_BETWEEN_AGREEMENTS = 10

_requested = threading.Event()
_requested_at = 0.0
_deferring = threading.Event()
_swallowed = threading.Event()
_sent_again = 0


class Interrupted(BaseException):
    """A signal asked the program to stop; not an `Exception`, like `KeyboardInterrupt`.

    Attributes:
        agreed: whether all hosts stop here.
    """

    def __init__(self, message: str, agreed: bool = False):
        """Says what was stopped."""
        super().__init__(message)
        self.agreed = agreed


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Handles the signals as this module says; to be entered in the main thread."""
    # Python runs handlers between two of its own instructions, so not while XLA compiles for a
    # minute. The wake-up socket is written at once, and a thread sees the second signal there.
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    threading.Thread(target=_end_at_the_second, args=(receiver,), daemon=True).start()
    wakeup_before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    handlers_before = {number: signal.signal(number, _on_signal) for number in SIGNALS}
    hook_before = sys.unraisablehook
    sys.unraisablehook = functools.partial(_on_unraisable, hook_before)
    try:
        yield
    finally:
        sys.unraisablehook = hook_before
        for number, handler in handlers_before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup_before)
        sender.close()
        _requested.clear()
        _swallowed.clear()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, a signal is only noted: the code asks `is_requested` where it can stop.

    Raises:
        Interrupted: on leaving, if a signal was noted.
    """
    _deferring.set()
    try:
        yield
    finally:
        _deferring.clear()
    if _requested.is_set():
        raise Interrupted("stopped by a signal")


def is_requested(step: int) -> bool:
    """Returns whether to stop after this step, the same on every host.

    Signals reach the hosts at different steps, so every few steps they agree; a single host
    knows at once.

    Args:
        step: steps taken so far, equal on all hosts.
    """
    if sharding.is_alone():
        return _requested.is_set()
    if step % STEPS_BETWEEN_AGREEMENTS:
        return False
    return sharding.on_any_host(_requested.is_set())


def seconds_since_signal() -> float:
    """Returns the seconds since the first host was asked to stop; all hosts have to call it."""
    mine = time.monotonic() - _requested_at if _requested.is_set() else 0.0
    return sharding.largest_of_hosts(mine)


def _on_signal(number: int, frame: FrameType | None) -> None:
    global _requested_at
    name = signal.Signals(number).name
    if not _requested.is_set():
        _requested_at = time.monotonic()
        _requested.set()
        # Not print: the handler may have come in the middle of one.
        os.write(2, f"\n{name}: stopping in good order; once more to stop at once.\n".encode())
    elif not _swallowed.is_set():
        return
    _swallowed.clear()
    if not _deferring.is_set():
        raise Interrupted(f"stopped by {name}")


def _on_unraisable(hook_before: Callable[[Any], Any], unraisable: Any) -> None:
    """Sends a signal again whose exception came up in a finalizer, where Python drops it."""
    if unraisable.exc_type is not Interrupted:
        hook_before(unraisable)
        return
    _swallowed.set()
    # Later, since this is called where exceptions are dropped.
    threading.Timer(0.05, _send_again).start()


def _send_again() -> None:
    global _sent_again
    _sent_again += 1
    # To the main thread, which may sleep or wait for a process.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _end_at_the_second(receiver: socket.socket) -> None:
    seen = _sent_again
    with receiver:
        while number := receiver.recv(1):
            seen += number[0] in SIGNALS
            if seen - _sent_again > 1:
                os._exit(128 + number[0])
