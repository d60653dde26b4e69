"""What a person sees while a stage runs: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType

import jax
import tqdm

SECONDS_BETWEEN_LINES = 30.0


def say(message: str) -> None:
    """Prints a line, once per run: only the first host speaks."""
    if jax.process_index() == 0:
        tqdm.tqdm.write(message, file=sys.stdout)
        sys.stdout.flush()


class Progress:
    """Counts the units of a stage and shows rate and time left."""

    def __init__(self, name: str, total: int, start: int = 0, unit: str = "step"):
        """Starts counting.

        Args:
            name: what runs, shown first.
            total: units in all.
            start: units done by an earlier run.
            unit: what is counted, in the singular.
        """
        self._name, self._total, self._unit = name, total, unit
        self._done = self._start = start
        self._begin = self._last_line = time.monotonic()
        self._bar = None
        if sys.stderr.isatty() and jax.process_index() == 0:
            self._bar = tqdm.tqdm(desc=name, total=total, initial=start, unit=unit)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Counts `count` more units; `note` is shown behind the rate."""
        self._done += count
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
            return
        now = time.monotonic()
        if now - self._last_line >= SECONDS_BETWEEN_LINES or self._done == self._total:
            self._last_line = now
            rate = (self._done - self._start) / max(now - self._begin, 1e-9)
            left = format_duration((self._total - self._done) / max(rate, 1e-9))
            line = f"{self._name}: {self._done}/{self._total} {self._unit}s"
            say(f"{line}, {rate:.3g}/s, {left} left{', ' + note if note else ''}")

    def __enter__(self) -> "Progress":
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


def format_duration(seconds: float) -> str:
    """Returns a duration in the two largest units, such as `2 h 5 min`."""
    seconds = round(seconds)
    for size, unit, smaller_size, smaller_unit in (
        (86400, "days", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            count, rest = divmod(seconds, size)
            unit = "day" if (count, unit) == (1, "days") else unit
            return f"{count} {unit} {rest // smaller_size} {smaller_unit}"
    return f"{seconds} s"
