"""How far the preparation of data is: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import tqdm

SECONDS_BETWEEN_LINES = 30.0

_Item = TypeVar("_Item")


def counted(items: Iterable[_Item], description: str, total: int, unit: str) -> Iterator[_Item]:
    """Yields the items and shows how many there were.

    Args:
        items: whatever is worked on.
        description: what is done, shown first.
        total: number of the items.
        unit: what is counted, in the plural.
    """
    if sys.stderr.isatty():
        yield from tqdm.tqdm(items, description, total, leave=False, unit=f" {unit}")
        return
    begin = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            rate = done / (now - begin)
            left = tqdm.tqdm.format_interval((total - done) / rate)
            print(f"{description}: {done}/{total} {unit}, {rate:.3g}/s, {left} left", flush=True)
