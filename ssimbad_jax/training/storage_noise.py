"""What Orbax and TensorStore say, and print, when a disk fails: pages, of which a line matters."""

import contextlib
import gc
import logging
import re
import sys
import time
from collections.abc import Iterator

_SECONDS_FOR_THREADS = 0.3
_SYSTEM_REASONS = (
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "File too large",
    "Permission denied",
    "Input/output error",
)


def in_short(error: BaseException) -> str:
    """Returns the system's reason if the message holds one, else its beginning."""
    text = str(error)
    for reason in _SYSTEM_REASONS:
        if reason.lower() in text.lower():
            return reason
    first_line = re.split(r"\n|: <bound method", text)[0]
    return f"{type(error).__name__}: {first_line[:160]}"


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keeps their threads from printing tracebacks of what they raise as well."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        sys.unraisablehook = hook


def collect_unfinished_reads() -> None:
    """Lets reads end that were given up after an error; to be called inside `silenced`."""
    time.sleep(_SECONDS_FOR_THREADS)
    gc.collect()
